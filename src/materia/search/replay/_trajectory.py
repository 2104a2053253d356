"""One run of one strategy: start from random labels, predict, pick a batch, look up its answers, again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions
from materia.search._gauss import Floats
from materia.search._remaining import remaining
from materia.search._score import acquisition_at, choose
from materia.search._stop import enough
from materia.search._view import PoolView
from materia.search.replay._failing import failing, success
from materia.search.replay._pool import KnownPool
from materia.search.replay._settings import ReplaySettings, StrategySettings
from materia.search.replay.learner import load

VALUE = 0.95  # share of all hits whose finding is the moment to stop, for one who knows the answers

_Z90 = 1.6449  # half-width of a central 90 % interval in standard deviations


@dataclass(frozen=True)
class Trajectory:
    """What one run did.

    Attributes:
        strategy, seed: which run.
        order: rows of the pool in the order they were computed, the start first.
        rounds: for each round ``n`` (labels it was trained on), ``expected_hits`` (sum of the picks' chances),
            ``hits`` (of its picks), ``chances`` (of each pick, and whether it was a hit), ``remaining`` (what was still
            to be found before it, as :class:`~materia.search.Remaining`; None where nothing makes a hit), ``coverage``
            (quantity -> share of the candidates not yet computed whose value lies in the predicted 90 % interval),
            ``learn_s`` and ``choose_s`` (CPU seconds).
        stopped: calculations after which the strategy's stop rules would have ended the campaign; None where there are
            none, or they never did.
        why: which rule, in words.
    """

    strategy: str
    seed: int
    order: tuple[int, ...]
    rounds: tuple[Mapping[str, Any], ...]
    stopped: int | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "strategy": self.strategy,
            "seed": self.seed,
            "order": list(self.order),
            "rounds": [dict(r) for r in self.rounds],
            "stopped": self.stopped,
            "why": self.why,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Trajectory:
        return cls(
            record["strategy"],
            int(record["seed"]),
            tuple(record["order"]),
            tuple(record["rounds"]),
            record.get("stopped"),
            record.get("why", ""),
        )


def play(pool: KnownPool, settings: ReplaySettings, strategy: StrategySettings, seed: int) -> Trajectory:
    """Run one strategy once. The same pool, settings and seed give the same picks.

    The picks are those a :class:`~materia.search.PoolSampler` makes from the same predictions. The run ends when
    ``settings.end`` of all hits is found, after ``settings.most`` calculations, or with the pool. Where the strategy
    has stop rules it goes on until they would have stopped it and 95 % of all hits are found, so that both are known.
    """
    conditions = Conditions(settings.objectives, settings.constraints)
    search = strategy.search.model_copy(update={"batch": settings.batch})
    learner = load(strategy.learner, strategy.options)
    names = pool.to_learn(conditions)
    fails = failing(pool, settings.failures, seed)
    hits = pool.hits(conditions) & ~fails
    rules = search.stop
    goal = hits.sum() * (settings.end if rules is None else max(settings.end, VALUE))
    most = min(settings.most or len(pool), len(pool))
    order = [int(i) for i in np.random.default_rng([seed, 1]).permutation(len(pool))[: min(settings.start, most)]]
    known = _Known(pool, conditions)
    known.add([i for i in order if not fails[i]])
    rounds: list[dict[str, Any]] = []
    stopped, why = None, ""
    while len(order) < most and (hits[order].sum() < goal or (rules is not None and stopped is None)):
        number, began = len(rounds), time.process_time()
        tried = np.array(order)
        rows = tried[~fails[tried]]
        learned = learner.learn(pool, rows, {q: pool.values[q][rows] for q in names}, seed * 100_003 + number)
        columns = pool.complete(learned.columns, rows.tolist(), conditions, expected=search.hull == "expected")
        beliefs = Beliefs(columns, learned.hurdles)
        chance = success(pool, tried, fails, seed * 100_003 + number) if search.failures == "learn" else None
        view = PoolView(
            len(pool),
            conditions,
            beliefs,
            embedding=learned.embedding,
            groups={"prototype": pool.prototypes},
            success=chance,
            formulas=pool.formulas,
        )
        middle = time.process_time()
        free = view.choosable(None)[0]
        free[order] = False
        unknown = free.copy()
        left = remaining(
            view,
            search,
            free,
            [r["chances"] for r in rounds],
            int(hits[order].sum()),
            observed=None if rules is None or rules.hypervolume_share is None else known.losses(),
            seed=(seed, number),
        )
        if rules is not None and left is not None and stopped is None and number >= rules.not_before:
            why = enough(rules, left)
            stopped = len(order) if why else None
        batch: list[int] = []
        for slot in range(min(search.batch, most - len(order))):
            choice = choose(
                view,
                search,
                acquisition_at(search, number, slot),
                free=free,
                pending=tuple(batch),
                observed=known.losses(),
                rng=np.random.default_rng([seed, number, slot]),
            )
            batch.append(choice.index)
            free[choice.index] = False
        order += batch
        known.add([i for i in batch if not fails[i]])
        chances = conditions.probability(beliefs.rows(np.array(batch)))
        if chance is not None:
            chances = chances * chance[batch]
        rounds.append(
            {
                "n": len(order) - len(batch),
                "expected_hits": round(float(chances.sum()), 4),
                "hits": int(hits[batch].sum()),
                "chances": [[round(float(p), 7), bool(hit)] for p, hit in zip(chances, hits[batch], strict=True)],
                "remaining": None if left is None else left.to_json(),
                "coverage": {q: _coverage(learned.columns[q], pool.values[q], unknown) for q in names},
                "learn_s": round(middle - began, 3),
                "choose_s": round(time.process_time() - middle, 3),
            }
        )
    return Trajectory(strategy.name, seed, tuple(order), tuple(rounds), stopped, why)


def _coverage(column: tuple[Floats, Floats], truth: Floats, among: np.ndarray) -> float:
    mean, std = column
    inside = np.abs(truth[among] - mean[among]) <= _Z90 * std[among]
    return round(float(inside.mean()), 4)


class _Known:
    """Losses of what was computed and respects the constraints, as an acquisition is shown them."""

    def __init__(self, pool: KnownPool, conditions: Conditions) -> None:
        self._pool, self._conditions = pool, conditions
        self._losses: list[list[float]] = []

    def add(self, rows: list[int]) -> None:
        for i in rows:
            values = {q: float(self._pool.values[q][i]) for q in self._conditions.quantities}
            verdict = self._conditions.evaluate(values)
            if all(v <= 0 for v in verdict.violations.values()):
                self._losses.append(list(verdict.losses.values()))

    def losses(self) -> Floats:
        return np.array(self._losses, dtype=np.float64).reshape(-1, len(self._conditions.objectives))
