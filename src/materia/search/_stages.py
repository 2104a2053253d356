"""Cheap before dear: what a calculation of either kind is worth for its cost.

A candidate is a hit by a dear calculation (HSE06), and a cheap one (PBE) says beforehand how likely that is. Two things
can be done next: the dear calculation where the cheap one is known, worth its probability of a hit over its cost; or
the cheap one where nothing is known, which may open the way to a dear one or close it.
"""

from __future__ import annotations

import numpy as np

from materia.errors import SearchError
from materia.search._gauss import Floats


def gain_of_dear(chances: Floats, cost: float) -> Floats:
    """(n,) hits per unit of cost of the dear calculation, for candidates whose cheap one left these chances (n,)."""
    _require_positive(cost)
    return np.asarray(chances, dtype=np.float64) / cost


def gain_of_both(chances: Floats, cheap: float, dear: float, weights: Floats | None = None) -> Floats:
    """Hits per cost of a candidate of which nothing is computed, if it is handled in the best way.

    The cheap calculation comes first; then the dear one, if the chance it leaves is at least some threshold. Of all
    thresholds the best is taken: ``max over t of E[p; p >= t] / (cheap + dear P(p >= t))``. It is the index of J. C.
    Gittins (J. R. Stat. Soc. B 41, 148 (1979)) for a candidate in two stages: of independent candidates whose chances
    are known, the one with the largest index of this kind or of :func:`gain_of_dear` is to be looked at next.

    Args:
        chances: (n, K) of a hit after the cheap calculation, for K results of it.
        cheap, dear: what the calculations cost.
        weights: (n, K) how likely each result is, 1 in sum; left out, all are alike.

    Returns:
        (n,) hits per unit of cost.

    Raises:
        SearchError: a cost that is not positive.
    """
    _require_positive(cheap)
    _require_positive(dear)
    chances = np.asarray(chances, dtype=np.float64)
    likely = np.full(chances.shape, 1 / chances.shape[1]) if weights is None else weights
    best_first = np.argsort(-chances, axis=1, kind="stable")
    chances, likely = (np.take_along_axis(each, best_first, axis=1) for each in (chances, likely))
    hits, climbs = np.cumsum(chances * likely, axis=1), np.cumsum(likely, axis=1)
    rates: Floats = (hits / (cheap + dear * climbs)).max(axis=1)
    return rates


def _require_positive(cost: float) -> None:
    if not cost > 0:
        raise SearchError(f"a cost of {cost} is not positive", remedy="give costs of both calculations in one unit")
