"""The few values that stand for a gap which is not known yet."""

from __future__ import annotations

import numpy as np

from materia.search._beliefs import Hurdle
from materia.search._gauss import Floats

NODES = 9  # equally likely values of a normal distribution

Uncertain = tuple[np.ndarray, np.ndarray] | Hurdle
"""(n,) mean and (n,) standard deviation of a normal distribution, eV; or a hurdle."""


def scenarios(gap: Uncertain) -> list[tuple[Floats, Floats]]:
    """((n,) probability, (n,) gap in eV) of each: ``NODES`` out of the normal distribution, where negative ones are
    closed; of a hurdle also that it is closed altogether."""
    from scipy.stats import norm

    nodes = norm.ppf((np.arange(NODES) + 0.5) / NODES)
    if isinstance(gap, Hurdle):
        closed = (1 - gap.chance, np.zeros(len(gap.chance)))
        return [closed, *((gap.chance / NODES, np.maximum(gap.mean + z * gap.std, 0.0)) for z in nodes)]
    mean, std = gap
    return [(np.full(len(mean), 1 / NODES), np.maximum(mean + z * std, 0.0)) for z in nodes]
