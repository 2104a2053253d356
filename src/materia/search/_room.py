"""Hypervolume still to be gained by computing everything that is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from materia import quantities
from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions
from materia.search._gauss import Floats
from materia.search._pareto import front, hypervolume
from materia.search.acquisitions import Situation
from materia.search.acquisitions.ehvi import binding_losses, reference_point

DRAWS = 64
_HOPELESS = 1e-4  # candidates less likely than this to respect the constraints are left out


@dataclass(frozen=True)
class Room:
    """What computing all that is left would add, as shares of the hypervolume that would then be dominated.

    Attributes:
        expected: mean over draws.
        high: 95 % quantile.
        certain: the quantile at the certainty that the stop rules ask for.
    """

    expected: float
    high: float
    certain: float


def room_left(
    conditions: Conditions,
    beliefs: Beliefs,
    rows: np.ndarray,
    observed: Floats,
    share: tuple[float, float],
    levels: tuple[float, float],
    seed: Sequence[int],
) -> Room | None:
    """Draws of all that is left, values independent and Gaussian as believed; None without a goal.

    Each draw keeps as many of the candidates as it draws hits for each one that is predicted (at most all of them), so
    that predictions that do not come true do not promise room for ever. What is predicted within the conditions is
    not corrected, so that noise in it promises too much rather than too little.

    Args:
        rows: candidates that are left.
        observed: (k, m) losses of the computed ones that respect the constraints.
        share: hits expected for each one predicted, and the standard deviation of its logarithm.
        levels: of the two quantiles.
        seed: of the draws.
    """
    objectives = conditions.objectives
    if all(o.goal is None for o in objectives) or not len(rows):
        return None
    constrained = {c.quantity for c in conditions.constraints}
    respects = sum(
        (v for q, v in conditions.log_probabilities(beliefs).items() if q in constrained), np.zeros(beliefs.n)
    )
    rows = rows[respects[rows] > np.log(_HOPELESS)]
    eligible = np.zeros(beliefs.n, dtype=bool)
    eligible[rows] = True
    if not len(rows):
        return Room(0.0, 0.0, 0.0)
    situation = Situation(beliefs, conditions, eligible, (), observed, np.random.default_rng(0))
    reference = reference_point(situation, conditions.expected_losses(beliefs), binding_losses(situation))
    known = front(observed) if len(observed) else observed.reshape(0, len(objectives))
    before = hypervolume(known, reference)
    rng = np.random.default_rng(list(seed))
    gains = np.zeros(DRAWS)
    for k in range(DRAWS):
        kept = rows[rng.random(len(rows)) < share[0] * np.exp(share[1] * rng.standard_normal())]
        losses = _drawn(conditions, beliefs, kept, rng)
        both = np.concatenate([known, front(losses[np.all(losses < reference, axis=1)])]) if len(losses) else known
        after = hypervolume(both, reference)
        gains[k] = 1.0 - before / after if after > before else 0.0
    high, certain = (float(np.quantile(gains, level)) for level in levels)
    return Room(round(float(gains.mean()), 5), round(high, 5), round(certain, 5))


def _drawn(conditions: Conditions, beliefs: Beliefs, rows: np.ndarray, rng: np.random.Generator) -> Floats:
    """(k, m) losses of one draw of these candidates, those that break a constraint left out."""
    values = {}
    for name in conditions.quantities:
        mean, std = beliefs.column(name)
        value = mean[rows] + std[rows] * rng.standard_normal(len(rows))
        floor = quantities.quantity(name).lower
        values[name] = value if floor is None else np.maximum(value, floor)
    good = np.ones(len(rows), dtype=bool)
    for c in conditions.constraints:
        low, high = c.interval
        good &= (values[c.quantity] >= low) & (values[c.quantity] <= high)
    columns = []
    for o in conditions.objectives:
        value = values[o.quantity][good]
        if o.window is not None:
            columns.append(np.maximum(np.maximum(o.window[0] - value, value - o.window[1]), 0.0))
        else:
            columns.append(value if o.goal == "minimize" else -value)
    return np.stack(columns, axis=1)
