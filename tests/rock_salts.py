"""Rock salts of several sizes, for tests of learners that are told what a network says."""

from __future__ import annotations

import numpy as np

from materia.crystal import Crystal

_FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_CATIONS = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Zn", "Cd")
_ANIONS = ("O", "S", "Se", "F", "Cl", "Br")


def rock_salts() -> tuple[Crystal, ...]:
    """96 crystals: each cation with each anion, at 5.2 and 6.0 Å."""
    return tuple(
        Crystal.from_species(_FCC * size, [cation, anion], [[0, 0, 0], [0.5] * 3])
        for cation in _CATIONS
        for anion in _ANIONS
        for size in (5.2, 6.0)
    )
