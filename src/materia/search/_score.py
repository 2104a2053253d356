"""From an acquisition to one choice: diversity, success and cost multiplied on, ties broken, parts kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from materia.errors import SearchError
from materia.search._gauss import Floats
from materia.search._settings import SearchSettings
from materia.search._view import PoolView
from materia.search.acquisitions import Acquisition, Situation, load

_SAME = 1e-9  # differences this small are those between two processors' exponentials: they must not decide
_LEAST = 1e-12  # smallest success and novelty, so that a poor candidate stays above an impossible one


@dataclass(frozen=True)
class Choice:
    """One candidate and why.

    Attributes:
        index: its row in the pool.
        acquisition: name of the acquisition that chose it.
        score: factor's name -> value; ``total`` is their product and what was compared.
        logs: factor's name -> natural logarithm, which add up to that of the total; None for an impossible one.
        rank: its place by score among the free candidates, 1 for the best; other than 1 only where it was told.
    """

    index: int
    acquisition: str
    score: dict[str, float]
    logs: dict[str, float | None]
    rank: int


def acquisition_at(settings: SearchSettings, round_: int, slot: int) -> str:
    """Name of the acquisition that chooses for a slot: the explorer in its share of them."""
    explores = settings.explores(round_, slot) and load(settings.acquisition).adjusted
    return settings.explorer if explores else settings.acquisition


def choose(
    view: PoolView,
    settings: SearchSettings,
    acquisition: str,
    *,
    free: np.ndarray,
    pending: tuple[int, ...],
    observed: Floats,
    rng: np.random.Generator,
    only: int | None = None,
) -> Choice:
    """The free candidate of greatest value, or the one a person wants, scored like the others.

    Where several are equal within a billionth (all impossible, say), the smallest expected loss and distance to the
    conditions decides, then ``rng``.

    Args:
        free: (n,) bool, at least one True.
        pending: rows chosen and not yet known.
        observed: (k, m) losses seen so far.
        only: row of the free candidate to choose whatever its value.
    """
    method = load(acquisition)
    adjustments = _adjustments(view, settings, pending, free) if method.adjusted else {}
    factors: dict[str, Floats]
    if view.conditions is None or view.beliefs is None:
        if acquisition != "random":
            raise SearchError(
                f"acquisition {acquisition!r} needs conditions and beliefs", remedy="pass both, or use random"
            )
        factors = {"draw": np.log(1.0 - rng.random(view.n))}
    else:
        handicap = np.where(free, sum(adjustments.values(), start=np.zeros(view.n)), -np.inf)
        situation = Situation(view.beliefs, view.conditions, free, pending, observed, rng, handicap, view.formulas)
        factors = _checked(acquisition, method, situation)
    factors |= adjustments
    total = sum(factors.values(), start=np.zeros(view.n))
    total = np.where(free, total, -np.inf)
    best = free & (total >= total.max() - _SAME)
    ties = np.flatnonzero(best) if only is None else np.array([only])
    if len(ties) > 1 and method.adjusted and view.conditions is not None and view.beliefs is not None:
        miss = view.conditions.expected_miss(view.beliefs.rows(ties))
        ties = ties[miss <= miss.min() + _SAME]
    index = int(ties[rng.integers(len(ties))]) if len(ties) > 1 else int(ties[0])
    score = {name: float(np.exp(column[index])) for name, column in factors.items()}
    logs = {name: float(column[index]) for name, column in factors.items()}
    return Choice(
        index,
        acquisition,
        {**score, "total": float(np.prod(list(score.values())))},
        {name: value if math.isfinite(value) else None for name, value in logs.items()},
        rank=1 + int((total > total[index]).sum()),
    )


def _checked(name: str, method: Acquisition, situation: Situation) -> dict[str, Floats]:
    factors = dict(method(situation))
    for factor, column in factors.items():
        bad = np.isnan(column) | np.isposinf(column)
        if column.shape != (situation.beliefs.n,) or (bad & situation.eligible).any():
            raise SearchError(
                f"acquisition {name!r}: factor {factor!r} of shape {column.shape} is not a finite or zero value "
                "for every eligible candidate",
                remedy="return one logarithm per candidate; -inf for impossible, never NaN",
            )
    return factors


def _adjustments(
    view: PoolView, settings: SearchSettings, pending: tuple[int, ...], free: np.ndarray
) -> dict[str, Floats]:
    """Logarithms of ``novelty``, ``family``, ``success`` and ``per_cost``, those that apply."""
    factors: dict[str, Floats] = {}
    if pending and settings.diversity > 0:
        if view.embedding is not None:
            factors["novelty"] = np.log(np.maximum(view.novelty(pending, settings.diversity), _LEAST))
        shared = np.zeros(view.n)
        for codes in view.codes.values():
            shared += np.bincount(codes[list(pending)], minlength=int(codes.max()) + 1)[codes]
        if view.codes:
            factors["family"] = shared * np.log1p(-0.5 * settings.diversity)
    if view.success is not None:
        factors["success"] = np.log(np.maximum(np.asarray(view.success, dtype=np.float64), _LEAST))
    if view.cost is not None and settings.cost_power > 0:
        typical = float(np.median(view.cost[free]))
        cost = np.where(np.isfinite(view.cost), view.cost, typical)
        factors["per_cost"] = settings.cost_power * np.log(typical / cost)
    return factors
