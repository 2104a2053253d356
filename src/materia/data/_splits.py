"""Folds of a dataset: whole formulas, or whole prototypes, are held out together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from materia.data._entry import Entry

FOLDS = 5


def splits(entries: Sequence[Entry]) -> dict[str, dict[str, int]]:
    """How to hold out a fifth of the computed entries.

    Returns:
        ``formula`` and ``prototype``: id -> fold, 0 to 4. No reduced formula, or no prototype, is in two folds. The
        folds follow from names and numbers alone: nothing is drawn, and nothing depends on a value.
    """
    computed = [entry for entry in entries if entry.status == "computed"]
    return {
        "formula": _grouped([e.id for e in computed], [e.formula for e in computed]),
        "prototype": _grouped([e.id for e in computed], [e.prototype for e in computed]),
    }


def _grouped(ids: Sequence[str], groups: Sequence[str]) -> dict[str, int]:
    """Largest group first, each to the fold that is smallest by then; of equal size in an order that says nothing."""
    sizes, filled, fold_of = Counter(groups), [0] * FOLDS, dict[str, int]()
    for group in sorted(sizes, key=lambda g: (-sizes[g], hashlib.sha256(g.encode()).hexdigest())):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return {identity: fold_of[group] for identity, group in zip(ids, groups, strict=True)}
