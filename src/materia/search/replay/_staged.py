"""Replays in which a candidate has a cheap and a dear answer, and every calculation its cost."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from materia.errors import ConfigError
from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions
from materia.search._gauss import Floats, log_interval
from materia.search._scenarios import scenarios
from materia.search._settings import Objective
from materia.search._stages import gain_of_both, gain_of_dear
from materia.search.replay._pool import KnownPool
from materia.search.replay.forest import ForestLearner
from materia.search.replay.learner import Learner

CHEAP, DEAR = 0, 1


@dataclass(frozen=True)
class Stages:
    """A search for hits by a dear quantity, with a cheap one before it.

    Attributes:
        cheap, dear: the quantities; the conditions are on the dear one alone.
        cheap_cost, dear_cost: of one calculation, in any unit.
        start: random candidates of which both are computed at first; they count.
        batch: calculations decided on before the next training.
        share: of all hits, at which a run ends.
        trees: of the forest in the map, and of the one that predicts where no other learner is given.
    """

    cheap: str
    dear: str
    cheap_cost: float
    dear_cost: float
    start: int = 50
    batch: int = 20
    share: float = 0.5
    trees: int = 40


@dataclass(frozen=True)
class StagedRun:
    """What one run did.

    Attributes:
        steps: (row of the pool, ``CHEAP`` or ``DEAR``) in the order they were computed.
        cost: at the last hit that was wanted.
        reached: whether it was found.
    """

    steps: tuple[tuple[int, int], ...]
    cost: float
    reached: bool

    def to_json(self) -> dict[str, Any]:
        return {"steps": [list(step) for step in self.steps], "cost": self.cost, "reached": self.reached}


def play_by_gain(
    pool: KnownPool,
    conditions: Conditions,
    stages: Stages,
    seed: int,
    learner: Learner | None = None,
    told: np.ndarray | None = None,
) -> StagedRun:
    """Next is what promises most hits per cost, of either kind (:mod:`materia.search._stages`).

    The learner predicts the cheap quantity, a calibrated map the dear one from the cheap one; the map is asked for what
    is known of the cheap quantity, or for the results it may have.

    Args:
        learner: of the cheap quantity, new for this run; left out, a forest on composition and cell.
        told: (n, d) float32: what the map is told of the candidates instead of composition and cell.
    """
    state = _State(pool, conditions, stages, seed, learner)
    described = pool.described if told is None else told
    while not state.enough and not state.has.all():
        known = np.flatnonzero(state.has[CHEAP] & ~state.has[DEAR])
        blank = np.flatnonzero(~state.has[CHEAP])
        rates = np.full(len(pool), -np.inf)
        dear = state.map(described)
        if len(known):
            chance = state.chances(dear, described[known], pool.values[stages.cheap][known])
            rates[known] = gain_of_dear(chance, stages.dear_cost)
        if len(blank):
            results = scenarios(state.believed(blank).uncertain(stages.cheap))
            ahead = np.stack([state.chances(dear, described[blank], cheap) for _, cheap in results], axis=1)
            likely = np.stack([weight for weight, _ in results], axis=1)
            rates[blank] = gain_of_both(ahead, stages.cheap_cost, stages.dear_cost, likely)
        ties = np.random.default_rng([seed, state.rounds]).random(len(pool))
        chosen = np.lexsort((ties, -rates))[: stages.batch]
        state.compute([(int(i), DEAR if state.has[CHEAP][i] else CHEAP) for i in chosen if np.isfinite(rates[i])])
    return state.run()


def play_ladder(
    pool: KnownPool,
    conditions: Conditions,
    stages: Stages,
    seed: int,
    window: tuple[float, float],
    learner: Learner | None = None,
) -> StagedRun:
    """The usual ladder: candidates most likely to have the cheap quantity inside a window come first, and of those
    that have it the dear quantity is computed.

    Args:
        window: of the cheap quantity.
        learner: of the cheap quantity, new for this run; left out, a forest on composition and cell.
    """
    state = _State(pool, conditions, stages, seed, learner)
    low, high = window
    wanted = Conditions([Objective(quantity=stages.cheap, window=window)])
    while not state.enough and not state.has[CHEAP].all():
        blank = np.flatnonzero(~state.has[CHEAP])
        inside = wanted.log_probability(state.believed(blank))
        ties = np.random.default_rng([seed, state.rounds]).random(len(blank))
        order = blank[np.lexsort((ties, -inside))][: stages.batch]
        steps = []
        for i in order.tolist():
            steps.append((i, CHEAP))
            if low <= pool.values[stages.cheap][i] <= high:
                steps.append((i, DEAR))
        state.compute(steps)
    return state.run()


class _State:
    """What has been computed of a pool so far, and at what cost."""

    def __init__(
        self, pool: KnownPool, conditions: Conditions, stages: Stages, seed: int, learner: Learner | None
    ) -> None:
        if set(conditions.intervals) != {stages.dear}:
            asked = ", ".join(conditions.intervals) or "nothing"
            raise ConfigError(f"conditions on {asked}", remedy=f"only {stages.dear} may have one")
        self.pool, self.stages, self.seed = pool, stages, seed
        self.learner = learner or ForestLearner(trees=stages.trees)
        self.low, self.high = conditions.intervals[stages.dear]
        self.hits = pool.hits(conditions)
        self.wanted = max(1, int(np.ceil(stages.share * self.hits.sum())))
        self.has = np.zeros((2, len(pool)), dtype=bool)
        self.steps: list[tuple[int, int]] = []
        self.rounds = 0
        start = np.random.default_rng([seed, 1]).permutation(len(pool))[: stages.start]
        self.compute([(int(i), stage) for i in start for stage in (CHEAP, DEAR)])

    def compute(self, steps: Sequence[tuple[int, int]]) -> None:
        for i, stage in steps:
            self.has[stage, i] = True
        self.steps += steps
        self.rounds += 1

    @property
    def enough(self) -> bool:
        """The wanted hits are found."""
        return bool((self.has[DEAR] & self.hits).sum() >= self.wanted)

    @property
    def _number(self) -> int:
        """Seeds the trainings of this round."""
        return self.seed * 100_003 + self.rounds

    def believed(self, rows: np.ndarray) -> Beliefs:
        """What the learner says of the cheap quantity of some rows."""
        name = self.stages.cheap
        known = np.array([i for i, stage in self.steps if stage == CHEAP])
        learned = self.learner.learn(self.pool, known, {name: self.pool.values[name][known]}, self._number)
        return Beliefs(learned.columns, learned.hurdles).rows(rows)

    def map(self, described: np.ndarray) -> _Map:
        """From the cheap quantity to the dear one."""
        rows = np.flatnonzero(self.has[DEAR])
        cheap, dear = (self.pool.values[name][rows] for name in (self.stages.cheap, self.stages.dear))
        return _Map(described[rows], cheap, dear, self.stages.trees, self._number)

    def chances(self, dear: _Map, described: np.ndarray, cheap: Floats) -> Floats:
        """Probability of a hit of some candidates, were the cheap quantity this."""
        return np.exp(log_interval(*dear.predict(described, cheap), self.low, self.high, 0.0))

    def run(self) -> StagedRun:
        costs = np.cumsum(
            [self.stages.dear_cost if stage == DEAR else self.stages.cheap_cost for _, stage in self.steps]
        )
        found = np.cumsum([stage == DEAR and self.hits[i] for i, stage in self.steps])
        reached = bool(found[-1] >= self.wanted)
        end = int(np.searchsorted(found, self.wanted)) if reached else len(costs) - 1
        return StagedRun(tuple(self.steps), float(costs[end]), reached)


class _Map:
    """The dear quantity from the cheap one.

    A straight line where the cheap one is above its bound of 0, the mean where it is not, and a forest for what is
    left. The uncertainty is what was erred on calculations that the trees had not seen, at the bound and above it
    apart.
    """

    def __init__(self, x: np.ndarray, cheap: Floats, dear: Floats, trees: int, seed: int) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        above = cheap > 0
        line = np.polyfit(cheap[above], dear[above], 1).tolist() if above.sum() > 2 else [1.0, 0.0]
        self._slope, self._shift = float(line[0]), float(line[1])
        self._at_bound = float(dear[~above].mean()) if (~above).any() else 0.0
        rest = dear - self._line(cheap)
        model = ExtraTreesRegressor(
            trees, max_features=0.3, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=seed, n_jobs=1
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a few rows are in all samples: their error is not looked at
            self._model = model.fit(self._columns(x, cheap), rest)
        left = rest - np.nan_to_num(model.oob_prediction_)
        everywhere = float(np.sqrt((left**2).mean()))
        self._error = [
            max(float(np.sqrt((left[part] ** 2).mean())) if part.sum() >= 5 else everywhere, 1e-3)
            for part in (~above, above)
        ]

    def predict(self, x: np.ndarray, cheap: Floats) -> tuple[Floats, Floats]:
        mean: Floats = self._line(cheap) + self._model.predict(self._columns(x, cheap))
        return mean, np.where(cheap > 0, self._error[1], self._error[0])

    def _line(self, cheap: Floats) -> Floats:
        return np.where(cheap > 0, self._slope * cheap + self._shift, self._at_bound)

    @staticmethod
    def _columns(x: np.ndarray, cheap: Floats) -> np.ndarray:
        return np.column_stack([x, cheap]).astype(np.float32)
