"""Folds of examples by group, so that no formula is on both sides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def grouped_folds(
    groups: Sequence[str], folds: int, seed: int, kept: Mapping[str, int] | None = None
) -> NDArray[np.int64]:
    """(n,) fold of each example; all examples of a group share one, and folds are about equally large.

    The groups are ordered by a hash of name and seed and dealt to the smallest fold, so the order of the
    examples plays no part. With fewer groups than folds, the last folds stay empty. Groups in ``kept`` stay in the
    fold given there.
    """
    names = set(groups)
    home = {group: fold for group, fold in (kept or {}).items() if group in names}
    order = sorted(names - home.keys(), key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest())
    counts = Counter(groups)
    load = [0] * folds
    for group, k in home.items():
        load[k] += counts[group]
    for group in order:
        k = load.index(min(load))
        home[group] = k
        load[k] += counts[group]
    return np.array([home[g] for g in groups], dtype=np.int64)


def left_out(member: int, members: int, by: int) -> tuple[int, ...]:
    """The folds that a member does not learn from: its own, and those of the next ``by - 1`` members.

    Each of the first ``members`` folds is then predicted by ``by`` members that have not seen it.
    """
    return tuple((member + step) % members for step in range(min(by, members)))


def unseen_by(
    member: int, folds: NDArray[np.int64], labelled: NDArray[np.bool_], members: int, by: int
) -> NDArray[np.bool_]:
    """(n,) the examples a member does not learn from; none where that would leave it without a label."""
    out = np.isin(folds, left_out(member, members, by))
    return out if (labelled & ~out).any() else np.zeros_like(out)
