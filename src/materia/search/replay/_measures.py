"""From runs to figures: discoveries against calculations, acceleration, enhancement, regret, hypervolume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from materia.search._conditions import Conditions, objective_loss
from materia.search._gauss import Floats
from materia.search._pareto import hypervolume
from materia.search.replay._failing import failing
from materia.search.replay._intervals import interval
from materia.search.replay._pool import KnownPool
from materia.search.replay._settings import ReplaySettings
from materia.search.replay._stopping import bounds, stopping
from materia.search.replay._trajectory import Trajectory

_POINTS = 40  # of a curve


def expected_calculations(n: int, hits: int, wanted: int) -> float:
    """Calculations until random choice without repeats has found ``wanted`` of ``hits`` among n: k(n + 1)/(h + 1)."""
    return wanted * (n + 1) / (hits + 1)


def luck(n: int, hits: int, wanted: int) -> tuple[float, float]:
    """Between which accelerations 95 % of single runs of random choice lie (negative hypergeometric distribution).

    All seeds of a strategy search one pool. What its labels have in common with its structures by chance helps or
    hurts them together, which an interval over seeds does not show; a strategy that knows nothing moves inside this.
    """
    from scipy.stats import nhypergeom

    misses_before = nhypergeom(n, n - hits, wanted)
    most, least = (wanted + float(misses_before.ppf(p)) for p in (0.975, 0.025))
    mean = expected_calculations(n, hits, wanted)
    return mean / most, mean / least


def summarise(pool: KnownPool, settings: ReplaySettings, runs: Sequence[Trajectory]) -> dict[str, Any]:
    """Figures of a replay as plain data; intervals are 95 %, from a bootstrap over the seeds.

    Returns:
        ``goal`` (pool, hits, ``wanted``: hits a run has to find, ``random_calculations``: what random choice needs
        for them on average, ``luck``: see :func:`luck`; with failures ``failing``, the share of the candidates whose
        calculation fails, and ``findable``, hits whose calculation does not, as means over the seeds) and
        ``strategies``: name ->

        - ``acceleration``: ``random_calculations`` over the mean calculations to the wanted hits (an upper bound
          where ``reached`` is below ``seeds``);
        - ``against``: other strategy -> its calculations over this one's, seeds paired;
        - ``curve``: at ``n`` calculations the ``hits`` found, the ``enhancement`` (hits over those of random
          choice), the simple ``regret`` (least total loss found above the pool's least) and the share of the pool's
          ``hypervolume``, each as lists of mean, low, high; up to where half of the seeds are done, and those that
          are done stand still;
        - ``calibration``: by number of labels the coverage of 90 % intervals and expected against found hits;
        - ``cpu_s_round``: CPU seconds a round of learning and choosing;
        - ``remaining``: by number of labels, the hits still to be found as ``expected``, ``high`` (bound of 95 %) and
          in ``truth``, means over the seeds, and ``held``: share of all rounds in which the truth kept to the bound;
        - ``stop``, where it has stop rules: see :func:`materia.search.replay.stopping`.
    """
    conditions = Conditions(settings.objectives, settings.constraints)
    hits = pool.hits(conditions)
    seeds = sorted({run.seed for run in runs})
    found_by = {seed: hits & ~failing(pool, settings.failures, seed) for seed in seeds}
    wanted = {seed: max(1, math.ceil(settings.share * found.sum())) for seed, found in found_by.items()}
    chances = [expected_calculations(len(pool), int(found_by[s].sum()), wanted[s]) for s in seeds]
    by_chance = float(np.mean(chances))
    names = [s.name for s in settings.strategies]
    grouped = {name: [r for r in runs if r.strategy == name] for name in names}
    needed = {
        name: np.array([_needed(r, found_by[r.seed], wanted[r.seed]) for r in grouped[name]], dtype=np.float64)
        for name in names
    }
    worth = _Worth(pool, conditions)
    strategies: dict[str, Any] = {}
    for name in names:
        mine, calculations = grouped[name], needed[name]
        reached = sum(int(found_by[r.seed][list(r.order)].sum() >= wanted[r.seed]) for r in mine)
        theirs = np.array([found_by[r.seed] for r in mine])
        strategies[name] = {
            "seeds": len(mine),
            "reached": reached,
            "calculations": interval(calculations),
            "acceleration": interval(calculations, lambda drawn: by_chance / drawn.mean(axis=-1)),
            "against": {
                other: interval(_paired(needed[other], calculations), _ratio) for other in names if other != name
            },
            "curve": _curve(mine, theirs, len(pool), settings.batch, worth),
            "calibration": _calibration(mine),
            "cpu_s_round": _cost(mine),
            "remaining": bounds(mine, theirs),
        }
        rules = next(s.search.stop for s in settings.strategies if s.name == name)
        if rules is not None:
            strategies[name]["stop"] = stopping(mine, theirs, rules, worth.volume)
    goal = {
        "pool": len(pool),
        "hits": int(hits.sum()),
        "wanted": round(float(np.mean(list(wanted.values()))), 1) if settings.failures else wanted[seeds[0]],
        "random_calculations": round(by_chance, 1),
        "luck": [round(edge, 4) for edge in luck(len(pool), int(found_by[seeds[0]].sum()), wanted[seeds[0]])],
        "start": settings.start,
        "batch": settings.batch,
        "pool_digest": pool.digest,
    }
    if settings.failures is not None:
        failed = [float(failing(pool, settings.failures, seed).mean()) for seed in seeds]
        findable = [int(found.sum()) for found in found_by.values()]
        goal |= {"failing": round(float(np.mean(failed)), 4), "findable": round(float(np.mean(findable)), 1)}
    return {"name": settings.name, "goal": goal, "strategies": strategies}


def _paired(first: Floats, second: Floats) -> Floats:
    """(2, k) over the seeds that both have."""
    k = min(len(first), len(second))
    return np.stack([first[:k], second[:k]])


def _ratio(drawn: Floats) -> Floats:
    return np.asarray(drawn[0].mean(axis=-1) / drawn[1].mean(axis=-1))


def _needed(run: Trajectory, hits: np.ndarray, wanted: int) -> float:
    """Calculations up to the wanted hit; all of the run's where it did not get there."""
    found = np.cumsum(hits[list(run.order)])
    return float(np.searchsorted(found, wanted) + 1 if found[-1] >= wanted else len(run.order))


class _Worth:
    """What is known of the best after some calculations."""

    def __init__(self, pool: KnownPool, conditions: Conditions) -> None:
        objectives = conditions.objectives
        self.losses = np.array([[objective_loss(o, float(v)) for v in pool.values[o.quantity]] for o in objectives]).T
        self.weights = np.array([o.weight for o in objectives])
        fine = np.ones(len(pool), dtype=bool)
        for c in conditions.constraints:
            low, high = c.interval
            fine &= (pool.values[c.quantity] >= low) & (pool.values[c.quantity] <= high)
        self.fine = fine
        allowed = self.losses[fine] if fine.any() else self.losses
        self.reference = allowed.max(axis=0) + np.where(np.ptp(allowed, axis=0) > 0, 0.1 * np.ptp(allowed, axis=0), 1.0)
        self.best = float((allowed @ self.weights).min())
        self.whole = hypervolume(allowed, self.reference)

    def regret(self, rows: np.ndarray) -> float:
        """Total loss of the best that respects the constraints, above the pool's best; NaN while there is none."""
        rows = rows[self.fine[rows]]
        return float((self.losses[rows] @ self.weights).min()) - self.best if len(rows) else math.nan

    def volume(self, rows: np.ndarray) -> float:
        """Share of the hypervolume that the whole pool dominates."""
        rows = rows[self.fine[rows]]
        return hypervolume(self.losses[rows], self.reference) / self.whole if len(rows) else 0.0


def _curve(runs: Sequence[Trajectory], hits: np.ndarray, n_pool: int, batch: int, worth: _Worth) -> dict[str, Any]:
    """Up to where half of the seeds are done; one that is done stands still from there on. ``hits``: (runs, n)."""
    ends = [len(r.order) for r in runs]
    end = int(np.median(ends))
    start = min([end, *(int(r.rounds[0]["n"]) for r in runs if r.rounds)])
    step = batch * max(1, math.ceil((end - start) / batch / _POINTS))
    at = sorted({*range(start, end + 1, step), end})
    prefixes = [[np.array(r.order[:n]) for r in runs] for n in at]
    found = np.array([[h[rows].sum() for h, rows in zip(hits, seeds, strict=True)] for seeds in prefixes], dtype=float)
    chance = np.array(at)[:, None] * hits.sum(axis=1) / n_pool
    regret = np.array([[worth.regret(rows) for rows in seeds] for seeds in prefixes])
    volume = np.array([[worth.volume(rows) for rows in seeds] for seeds in prefixes])
    return {
        "n": at,
        "hits": [interval(row) for row in found],
        "enhancement": [interval(row / c) for row, c in zip(found, chance, strict=True)],
        "regret": [interval(row) if np.isfinite(row).all() else None for row in regret],
        "hypervolume": [interval(row) for row in volume],
    }


def _calibration(runs: Sequence[Trajectory]) -> dict[str, Any]:
    rounds = min(len(r.rounds) for r in runs)
    quantities = list(runs[0].rounds[0]["coverage"]) if rounds else []
    among = [[r.rounds[k] for r in runs] for k in range(rounds)]
    return {
        "n": [int(same[0]["n"]) for same in among],
        "coverage_90": {
            q: [round(float(np.mean([r["coverage"][q] for r in s])), 4) for s in among] for q in quantities
        },
        "expected_hits": [round(float(np.mean([r["expected_hits"] for r in s])), 3) for s in among],
        "hits": [round(float(np.mean([r["hits"] for r in s])), 3) for s in among],
    }


def _cost(runs: Sequence[Trajectory]) -> dict[str, float]:
    rounds = [r for run in runs for r in run.rounds]
    return {
        key: round(float(np.mean([r[f"{key}_s"] for r in rounds])), 3) if rounds else 0.0 for key in ("learn", "choose")
    }
