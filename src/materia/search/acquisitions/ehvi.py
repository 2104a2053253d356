"""Expected hypervolume improvement over the objectives' losses."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from materia.search._gauss import Floats
from materia.search._improvement import improvement_where_it_matters
from materia.search.acquisitions._base import Situation


class Ehvi:
    """Expected hypervolume improvement times the probability of the constraints, in closed form.

    Pending candidates count at their expected losses where they probably respect the constraints (kriging
    believer). Candidates that provably cannot come first may be given an upper bound instead of their value.

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
        expected = conditions.expected_losses(beliefs)

        bounds = binding_losses(situation)
        implied = {o.quantity for o, bound in zip(objectives, bounds, strict=True) if bound is not None}
        constrained = {c.quantity for c in conditions.constraints}
        factors = {
            f"p_{q}": column
            for q, column in conditions.log_probabilities(beliefs).items()
            if q in constrained - implied
        }

        rows = list(situation.pending)
        chance = conditions.log_probability(beliefs.rows(np.array(rows, dtype=np.int64)))
        believed = np.stack([losses[rows] for losses in expected.values()], axis=1)[chance > math.log(0.5)]
        points = np.concatenate([situation.observed.reshape(-1, len(objectives)), believed])
        reference = reference_point(situation, expected, bounds)
        handicap = np.zeros(beliefs.n) if situation.handicap is None else situation.handicap
        rest = sum(factors.values(), start=np.where(situation.eligible, handicap, -np.inf))
        value = improvement_where_it_matters(objectives, columns, points, reference, rest)
        with np.errstate(divide="ignore"):
            return {"ehvi": np.log(value), **factors}


def binding_losses(situation: Situation) -> list[float | None]:
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


def reference_point(situation: Situation, expected: Mapping[str, Floats], bounds: list[float | None]) -> Floats:
    """(m,) upper corner of the hypervolume."""
    corners: list[float] = []
    observed = situation.observed.reshape(-1, len(expected))
    for axis, (losses, bound) in enumerate(zip(expected.values(), bounds, strict=True)):
        among, seen = losses[situation.eligible], observed[:, axis]
        worst = max(float(np.quantile(among, 0.9)), float(seen.max(initial=-math.inf)))
        best = min(float(among.min()), float(seen.min(initial=math.inf)))
        corners.append(bound if bound is not None else worst + (0.1 * (worst - best) if worst > best else 1.0))
    return np.array(corners)
