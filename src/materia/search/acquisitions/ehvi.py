"""Expected hypervolume improvement over the objectives' losses."""

from __future__ import annotations

import math

import numpy as np

from materia import quantities
from materia.search._conditions import expected_loss
from materia.search._gauss import Floats, hinge
from materia.search._pareto import open_cells
from materia.search._settings import Objective
from materia.search.acquisitions._base import Situation


class Ehvi:
    """Expected hypervolume improvement times the probability of the constraints, in closed form.

    For independent Gaussians the improvement factorises over the boxes of the region not yet dominated
    (Emmerich, Giannakoglou & Naujoks 2006; Yang et al. 2019), and for window losses each factor stays a sum
    of expected hinges. Pending candidates count at their expected losses where they probably respect the
    constraints (kriging believer).

    The reference point of a minimized quantity with a ``below`` constraint (and mirrored) is that bound: an
    improvement then implies the constraint. Elsewhere it lies a tenth of the range beyond the worst of what
    was observed and what the eligible are expected to give (90th percentile).

    Factors: ``ehvi`` (product of the objectives' units) and ``p_QUANTITY`` for each constraint left.
    """

    adjusted = True

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        conditions, beliefs = situation.conditions, situation.beliefs
        objectives = conditions.objectives
        columns = [beliefs.column(o.quantity) for o in objectives]
        expected = np.stack([expected_loss(o, *c) for o, c in zip(objectives, columns, strict=True)], axis=1)

        bounds = _bounds(situation)
        implied = {o.quantity for o, bound in zip(objectives, bounds, strict=True) if bound is not None}
        constrained = {c.quantity for c in conditions.constraints}
        factors = {
            f"p_{q}": column
            for q, column in conditions.log_probabilities(beliefs).items()
            if q in constrained - implied
        }

        log_p = sum(conditions.log_probabilities(beliefs).values(), start=np.zeros(beliefs.n))
        likely = [i for i in situation.pending if log_p[i] > math.log(0.5)]
        points = np.concatenate([situation.observed.reshape(-1, len(objectives)), expected[likely]])
        reference = _reference(situation, expected, bounds)
        value = expected_improvement(objectives, columns, points, reference)
        with np.errstate(divide="ignore"):
            return {"ehvi": np.log(value), **factors}


def expected_improvement(
    objectives: tuple[Objective, ...],
    columns: list[tuple[Floats, Floats]],
    points: Floats,
    reference: Floats,
) -> Floats:
    """(n,) expected growth of the hypervolume that ``points`` (k, m) dominate below ``reference`` (m,)."""
    lower, upper = open_cells(points, reference)
    n = len(columns[0][0])
    total = np.ones((len(lower), n))
    for axis, (objective, column) in enumerate(zip(objectives, columns, strict=True)):
        corners = np.unique(np.concatenate([lower[:, axis], upper[:, axis]]))
        below = np.stack([_room(objective, *column, float(c)) for c in corners])
        high = below[np.searchsorted(corners, upper[:, axis])]
        low = below[np.searchsorted(corners, lower[:, axis])]
        total *= np.maximum(high - low, 0.0)
    return np.asarray(total.sum(axis=0))


def _room(objective: Objective, mean: Floats, std: Floats, corner: float) -> Floats:
    """(n,) expected ``(corner - loss)+``."""
    if math.isinf(corner):
        return np.zeros(len(mean))
    floor = quantities.quantity(objective.quantity).lower
    if objective.window is not None:
        if corner <= 0:
            return np.zeros(len(mean))
        low, high = objective.window
        rising = hinge(mean, std, low - corner, floor) - hinge(mean, std, low, floor)
        falling = hinge(mean, std, high, floor) - hinge(mean, std, high + corner, floor)
        return np.maximum(rising - falling, 0.0)
    if objective.goal == "maximize":
        return hinge(mean, std, -corner, floor)
    value = hinge(-mean, std, -corner)
    if floor is not None:
        value = value - hinge(-mean, std, -floor) if corner > floor else np.zeros(len(mean))
    return np.maximum(value, 0.0)


def _bounds(situation: Situation) -> list[float | None]:
    """Per objective the loss at which a constraint on the same quantity binds, where one implies the other."""
    result: list[float | None] = []
    for objective in situation.conditions.objectives:
        low, high = situation.conditions.intervals.get(objective.quantity, (-math.inf, math.inf))
        if objective.goal == "minimize" and math.isfinite(high) and math.isinf(low):
            result.append(high)
        elif objective.goal == "maximize" and math.isfinite(low) and math.isinf(high):
            result.append(-low)
        else:
            result.append(None)
    return result


def _reference(situation: Situation, expected: Floats, bounds: list[float | None]) -> Floats:
    """(m,) upper corner of the hypervolume."""
    among = expected[situation.eligible]
    seen = np.concatenate([situation.observed.reshape(-1, expected.shape[1]), np.quantile(among, [0.9], axis=0)])
    worst = seen.max(axis=0)
    best = np.minimum(seen.min(axis=0), among.min(axis=0))
    margin = np.where(worst > best, 0.1 * (worst - best), 1.0)
    return np.array([b if b is not None else w for b, w in zip(bounds, worst + margin, strict=True)])
