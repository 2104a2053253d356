"""What is known of a structure without a calculation, as one row of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from materia.crystal import Crystal

COMPOSITION = 90  # features of the composition


def composition_features(crystals: Sequence[Crystal]) -> np.ndarray:
    """(n, 90) float32: mean, spread, least and greatest of the 22 tabulated element features, the norm of the
    fractions and the number of elements."""
    from materia.surrogate import composition_statistics

    return composition_statistics(crystal.numbers for crystal in crystals)


def cell_features(crystals: Sequence[Crystal], kinds: np.ndarray) -> np.ndarray:
    """(n, 3) float32: volume per atom (Å³), atoms in the cell, and a number of the kind of structure: that of the space
    group, or any code of the prototype."""
    volume = [c.volume / c.n_atoms for c in crystals]
    return np.column_stack([volume, [c.n_atoms for c in crystals], kinds]).astype(np.float32)
