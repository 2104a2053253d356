"""Replays in which a candidate has a cheap and a dear answer, and every calculation its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from materia.errors import ConfigError
from materia.search._conditions import Conditions
from materia.search._gauss import Floats, log_interval
from materia.search._stages import gain_of_both, gain_of_dear
from materia.search.replay._failing import known_before
from materia.search.replay._pool import KnownPool

CHEAP, DEAR = 0, 1
RESULTS = 9  # equally likely results of a cheap calculation that are looked ahead to


@dataclass(frozen=True)
class Stages:
    """A search for hits by a dear quantity, with a cheap one before it.

    Attributes:
        cheap, dear: the quantities; the conditions are on the dear one alone.
        cheap_cost, dear_cost: of one calculation, in any unit.
        start: random candidates of which both are computed at first; they count.
        batch: calculations decided on before the next training.
        share: of all hits, at which a run ends.
        trees: of each forest.
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


def play_by_gain(pool: KnownPool, conditions: Conditions, stages: Stages, seed: int) -> StagedRun:
    """Next is what promises most hits per cost, of either kind (:mod:`materia.search._stages`).

    One forest predicts the cheap quantity from composition and cell, another the dear one from these and the cheap
    one; the second is asked for what is known of the cheap quantity, or for equally likely results of it.
    """
    state = _State(pool, conditions, stages, seed)
    while not state.enough and not state.has.all():
        known = np.flatnonzero(state.has[CHEAP] & ~state.has[DEAR])
        blank = np.flatnonzero(~state.has[CHEAP])
        rates = np.full(len(pool), -np.inf)
        number = seed * 100_003 + state.rounds
        dear = state.forest(DEAR, number)
        if len(known):
            chance = state.chances(dear, known, pool.values[stages.cheap][known])
            rates[known] = gain_of_dear(chance, stages.dear_cost)
        if len(blank):
            mean, std = state.forest(CHEAP, number).predict(state.x[blank])
            ahead = np.stack([state.chances(dear, blank, np.maximum(mean + z * std, 0.0)) for z in _NODES], axis=1)
            rates[blank] = gain_of_both(ahead, stages.cheap_cost, stages.dear_cost)
        ties = np.random.default_rng([seed, state.rounds]).random(len(pool))
        chosen = np.lexsort((ties, -rates))[: stages.batch]
        state.compute([(int(i), DEAR if state.has[CHEAP][i] else CHEAP) for i in chosen if np.isfinite(rates[i])])
    return state.run()


def play_ladder(
    pool: KnownPool, conditions: Conditions, stages: Stages, seed: int, window: tuple[float, float]
) -> StagedRun:
    """The usual ladder: candidates most likely to have the cheap quantity inside a window come first, and of those
    that have it the dear quantity is computed.
    """
    state = _State(pool, conditions, stages, seed)
    low, high = window
    while not state.enough and not state.has[CHEAP].all():
        blank = np.flatnonzero(~state.has[CHEAP])
        mean, std = state.forest(CHEAP, seed * 100_003 + state.rounds).predict(state.x[blank])
        ties = np.random.default_rng([seed, state.rounds]).random(len(blank))
        order = blank[np.lexsort((ties, -log_interval(mean, std, low, high, 0.0)))][: stages.batch]
        steps = []
        for i in order.tolist():
            steps.append((i, CHEAP))
            if low <= pool.values[stages.cheap][i] <= high:
                steps.append((i, DEAR))
        state.compute(steps)
    return state.run()


class _State:
    """What has been computed of a pool so far, and at what cost."""

    def __init__(self, pool: KnownPool, conditions: Conditions, stages: Stages, seed: int) -> None:
        if set(conditions.intervals) != {stages.dear}:
            asked = ", ".join(conditions.intervals) or "nothing"
            raise ConfigError(f"conditions on {asked}", remedy=f"only {stages.dear} may have one")
        self.pool, self.stages = pool, stages
        self.low, self.high = conditions.intervals[stages.dear]
        self.hits = pool.hits(conditions)
        self.wanted = max(1, int(np.ceil(stages.share * self.hits.sum())))
        self.x = known_before(pool)
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

    def forest(self, stage: int, seed: int) -> _Forest:
        rows = np.flatnonzero(self.has[stage])
        name = self.stages.dear if stage == DEAR else self.stages.cheap
        x = self.x[rows]
        if stage == DEAR:
            x = np.column_stack([x, self.pool.values[self.stages.cheap][rows]]).astype(np.float32)
        return _Forest(x, self.pool.values[name][rows], self.stages.trees, seed)

    def chances(self, dear: _Forest, rows: np.ndarray, cheap: Floats) -> Floats:
        """Probability of a hit of some rows, were the cheap quantity this."""
        mean, std = dear.predict(np.column_stack([self.x[rows], cheap]).astype(np.float32))
        return np.exp(log_interval(mean, std, self.low, self.high, 0.0))

    def run(self) -> StagedRun:
        costs = np.cumsum(
            [self.stages.dear_cost if stage == DEAR else self.stages.cheap_cost for _, stage in self.steps]
        )
        found = np.cumsum([stage == DEAR and self.hits[i] for i, stage in self.steps])
        reached = bool(found[-1] >= self.wanted)
        end = int(np.searchsorted(found, self.wanted)) if reached else len(costs) - 1
        return StagedRun(tuple(self.steps), float(costs[end]), reached)


class _Forest:
    """Extremely randomised trees; their spread, and a tenth of the labels' on top of it, is the uncertainty."""

    def __init__(self, x: np.ndarray, y: Floats, trees: int, seed: int) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self._model = ExtraTreesRegressor(trees, max_features=0.3, random_state=seed, n_jobs=1).fit(x, y)
        self._floor = 0.1 * max(float(y.std()), 1e-9)

    def predict(self, x: np.ndarray) -> tuple[Floats, Floats]:
        each = np.stack([tree.predict(x, check_input=False) for tree in self._model.estimators_])
        return each.mean(axis=0), each.std(axis=0) + self._floor


def _nodes() -> Floats:
    from scipy.stats import norm

    return np.asarray(norm.ppf((np.arange(RESULTS) + 0.5) / RESULTS))


_NODES = _nodes()
