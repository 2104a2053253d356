"""Which calculations of a replay fail, and what a strategy learns from that."""

from __future__ import annotations

import numpy as np

from materia.search._gauss import Floats
from materia.search._success import chance_of_success
from materia.search.replay._pool import KnownPool
from materia.search.replay._settings import FailureSettings


def failing(pool: KnownPool, settings: FailureSettings | None, seed: int) -> np.ndarray:
    """(n,) bool: the calculations that fail with this seed.

    Regions lie around candidates drawn at random: those nearest to any of these, in standardised features of
    composition and cell, as many as it takes for the share that is asked for.
    """
    n = len(pool)
    if settings is None:
        return np.zeros(n, dtype=bool)
    rng = np.random.default_rng([seed, 2])
    features = pool.described.astype(np.float64)
    spread = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    centres = features[rng.choice(n, min(settings.regions, n), replace=False)]
    nearest = np.min([((features - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
    inside = (settings.share - settings.outside) / (settings.inside - settings.outside)
    region = nearest <= np.quantile(nearest, inside)
    drawn: np.ndarray = rng.random(n) < np.where(region, settings.inside, settings.outside)
    return drawn


def success(pool: KnownPool, rows: np.ndarray, fails: np.ndarray, seed: int) -> Floats | None:
    """(n,) probability of ending well, learned from the calculations so far; None while that cannot be told.

    Args:
        rows: (k,) calculations so far.
        fails: (n,) bool of the pool; only those of ``rows`` are looked at.
    """
    return chance_of_success(pool.described, rows, ~fails[rows], seed)
