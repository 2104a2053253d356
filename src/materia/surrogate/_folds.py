"""Folds of examples by group, so that no formula is on both sides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def grouped_folds(groups: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """(n,) fold of each example; all examples of a group share one, and folds are about equally large.

    The groups are ordered by a hash of name and seed and dealt to the smallest fold, so the order of the
    examples plays no part. With fewer groups than folds, the last folds stay empty.
    """
    order = sorted(set(groups), key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest())
    counts = Counter(groups)
    load = [0] * folds
    home: dict[str, int] = {}
    for group in order:
        k = load.index(min(load))
        home[group] = k
        load[k] += counts[group]
    return np.array([home[g] for g in groups], dtype=np.int64)
