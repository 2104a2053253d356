"""What a composition is made of, as one row of numbers: statistics of the tabulated element features."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from materia.surrogate._elements import N_FEATURES, element_features

_STATISTICS = 4  # mean, spread, least, greatest
WIDTH = _STATISTICS * N_FEATURES + 2


def composition_statistics(atoms: Iterable[NDArray[np.int64]]) -> NDArray[np.float32]:
    """(n, 90) of structures with those atomic numbers: mean, spread, least and greatest of the 22 tabulated element
    features, the norm of the fractions and the number of elements."""
    table = element_features().numpy()
    rows = []
    for each in atoms:
        numbers, counts = np.unique(each, return_counts=True)
        share, values = counts / counts.sum(), table[numbers]
        mean = share @ values
        spread = np.sqrt(share @ (values - mean) ** 2)
        rows.append(np.concatenate([mean, spread, values.min(0), values.max(0), [np.linalg.norm(share), len(share)]]))
    return np.array(rows, dtype=np.float32).reshape(-1, WIDTH)
