"""Statistics over seeds, with their intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from materia.search._gauss import Floats

DRAWS = 10_000


def interval(
    samples: Floats, statistic: Callable[[Floats], Floats] = lambda drawn: drawn.mean(axis=-1), seed: int = 0
) -> dict[str, float]:
    """A statistic over the last axis (seeds) with its 95 % bootstrap interval: ``value``, ``low``, ``high``."""
    k = samples.shape[-1]
    drawn = samples[..., np.random.default_rng(seed).integers(0, k, (DRAWS, k))]
    low, high = np.quantile(statistic(drawn), [0.025, 0.975])
    return {
        name: round(float(v), 4)
        for name, v in (("value", statistic(samples[..., None, :])[0]), ("low", low), ("high", high))
    }
