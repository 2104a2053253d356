"""Pareto fronts and the region they leave open. All objectives are losses: smaller is better."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from materia.search._gauss import Floats


def front(losses: Floats) -> Floats:
    """The rows of (k, m) losses that no other row dominates, without doubles, sorted by their columns."""
    left = np.atleast_2d(losses)
    found = []
    while len(left):  # nothing dominates the row of least sum; once round for each row of the front
        best = left[np.argmin(left.sum(axis=1))]
        found.append(best)
        left = left[np.any(left < best, axis=1)]
    rows = np.unique(np.array(found).reshape(len(found), np.atleast_2d(losses).shape[1]), axis=0)
    keep = [not np.any(np.all(rows <= row, axis=1) & np.any(rows < row, axis=1)) for row in rows]  # equal sums
    return np.asarray(rows[np.array(keep, dtype=bool)])


def ranks(losses: Floats) -> np.ndarray:
    """(k,) 1-based Pareto rank of each row: 1 on the front, 2 on the front of the rest, and so on."""
    rank = np.zeros(len(losses), dtype=int)
    level = 0
    while (left := np.flatnonzero(rank == 0)).size:
        level += 1
        rows = losses[left]
        dominated = np.array([np.any(np.all(rows <= row, axis=1) & np.any(rows < row, axis=1)) for row in rows])
        rank[left[~dominated]] = level
    return rank


def open_cells(points: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Disjoint boxes that fill the region below ``reference`` that no point dominates.

    Slices along the last axis, then the same in one dimension less; exact in any number of dimensions.

    Args:
        points: (k, m) losses.
        reference: (m,) upper corner.

    Returns:
        lower and upper corners, (c, m) each; lower edges may be -inf.
    """
    m = len(reference)
    inside = points[np.all(points < reference, axis=1)] if len(points) else np.empty((0, m))
    if len(inside):
        inside = front(inside)
    lower, upper = _cells(inside, reference)
    return np.array(lower).reshape(-1, m), np.array(upper).reshape(-1, m)


def _cells(points: Floats, reference: Floats) -> tuple[list[list[float]], list[list[float]]]:
    m = len(reference)
    if len(points) == 0:
        return [[-np.inf] * m], [list(map(float, reference))]
    if m == 1:
        return [[-np.inf]], [[float(points.min())]]
    edges = [-np.inf, *sorted(set(map(float, points[:, -1]))), float(reference[-1])]
    lower: list[list[float]] = []
    upper: list[list[float]] = []
    for low, high in pairwise(edges):
        active = points[points[:, -1] <= low][:, :-1]
        low_rest, high_rest = _cells(front(active) if len(active) else active, reference[:-1])
        lower.extend([*cell, low] for cell in low_rest)
        upper.extend([*cell, high] for cell in high_rest)
    return lower, upper


def hypervolume(points: Floats, reference: Floats) -> float:
    """Volume dominated by (k, m) ``points`` below ``reference`` (m,)."""
    inside = points[np.all(points < reference, axis=1)]
    if not len(inside):
        return 0.0
    corner = inside.min(axis=0)
    lower, upper = open_cells(inside, reference)
    open_volume = np.prod(np.maximum(upper - np.maximum(lower, corner), 0.0), axis=1).sum()
    return float(np.prod(reference - corner) - open_volume)
