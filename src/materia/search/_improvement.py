"""Expected hypervolume improvement in closed form, worked out only where it can matter."""

from __future__ import annotations

import math

import numpy as np

from materia import quantities
from materia.search._gauss import Floats, hinge
from materia.search._pareto import front, open_cells
from materia.search._settings import Objective

Columns = list[tuple[Floats, Floats]]

_CHUNK = 16384  # rows worked on at once: bounded memory whatever the pool
_FEW = 2048  # so many rows are not worth a bound
_SAFE = 1e-6  # in logarithms: a bound has to be beaten by more than rounding
_HALF_NORMAL = 0.3990  # a little above E(z+) = 1/sqrt(2π) of a standard normal


def expected_improvement(
    objectives: tuple[Objective, ...], columns: Columns, points: Floats, reference: Floats
) -> Floats:
    """(n,) expected growth of the hypervolume that ``points`` (k, m) dominate below ``reference`` (m,).

    For independent Gaussians it factorises over the boxes of the region not yet dominated (Emmerich, Giannakoglou
    & Naujoks 2006; Yang et al. 2019).
    """
    lower, upper = open_cells(points, reference)
    corners = [np.unique(np.concatenate([lower[:, a], upper[:, a]])) for a in range(len(objectives))]
    n = len(columns[0][0])
    result = np.empty(n)
    for start in range(0, n, _CHUNK):
        total: Floats | float = 1.0
        for axis, objective in enumerate(objectives):
            mean, std = (part[start : start + _CHUNK] for part in columns[axis])
            below = np.stack([_room(objective, mean, std, float(c)) for c in corners[axis]])
            high = below[np.searchsorted(corners[axis], upper[:, axis])]
            total = total * np.maximum(high - below[np.searchsorted(corners[axis], lower[:, axis])], 0.0)
        result[start : start + _CHUNK] = np.asarray(total).sum(axis=0)
    return result


def improvement_where_it_matters(
    objectives: tuple[Objective, ...], columns: Columns, points: Floats, reference: Floats, rest: Floats
) -> Floats:
    """(n,) as :func:`expected_improvement`, or an upper bound where that proves a candidate beaten.

    Branch and bound: forgetting points of the front only raises the improvement, so the improvement over a few of
    them bounds the one over all. Candidates whose bound stays below the best exact value found are left with it.

    Args:
        rest: (n,) logarithm of all other factors of the score, -inf for candidates that cannot be chosen.
    """
    n = len(rest)
    if n <= _FEW:
        return expected_improvement(objectives, columns, points, reference)
    edge = front(points[np.all(points < reference, axis=1)]) if len(points) else points
    value = _ceiling(objectives, columns, reference)
    score = _log(value) + rest
    done = np.zeros(n, dtype=bool)
    best = -math.inf

    def work_out(rows: np.ndarray, upon: Floats) -> None:
        value[rows] = expected_improvement(objectives, [(m[rows], s[rows]) for m, s in columns], upon, reference)
        score[rows] = _log(value[rows]) + rest[rows]

    alive = np.flatnonzero(score > -math.inf)
    upon = 0
    while len(alive):
        first = alive if len(alive) <= _FEW else alive[np.argpartition(score[alive], -_FEW // 4)[-_FEW // 4 :]]
        work_out(first, edge)
        done[first] = True
        best = max(best, float(score[first].max()))
        alive = alive[~done[alive] & (score[alive] >= best - _SAFE)]
        if upon >= len(edge):
            work_out(alive, edge)
            break
        some = edge[np.unique(np.linspace(0, len(edge) - 1, upon).astype(int))] if upon else edge[:0]
        work_out(alive, some)
        alive = alive[score[alive] >= best - _SAFE]
        upon = max(2, 4 * upon)
    return value


def _ceiling(objectives: tuple[Objective, ...], columns: Columns, reference: Floats) -> Floats:
    """(n,) upper bound of the improvement without any exponential: E(c - x)+ <= (c - μ)+ + σ/sqrt(2π)."""
    total = np.ones(len(columns[0][0]))
    for objective, (mean, std), corner in zip(objectives, columns, map(float, reference), strict=True):
        slack = _HALF_NORMAL * std
        if objective.window is not None:
            low, high = objective.window
            lowest = quantities.quantity(objective.quantity).lower
            value = mean if lowest is None else np.maximum(mean, lowest)
            slack = slack if lowest is None else 2 * slack  # E|max(x, floor) - max(μ, floor)| <= E|x - μ|
            room = np.minimum(np.maximum(value - (low - corner), 0.0), np.maximum(high + corner - value, 0.0)) + slack
            room = np.minimum(room, max(corner, 0.0))
        elif objective.goal == "maximize":
            lowest = quantities.quantity(objective.quantity).lower
            room = np.maximum((mean if lowest is None else np.maximum(mean, lowest)) + corner, 0.0) + 2 * slack
        else:
            room = np.maximum(corner - mean, 0.0) + slack
        total *= room
    return total


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


def _log(value: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(value)
