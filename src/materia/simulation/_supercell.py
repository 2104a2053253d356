"""The supercell in which a crystal is free to distort."""

from __future__ import annotations

import numpy as np

from materia.crystal import Crystal

MIN_LENGTH = 6.0  # Å


def supercell(crystal: Crystal) -> tuple[int, int, int]:
    """Multiples of the lattice vectors, all even: modes at the edges of the Brillouin zone are to fit in.

    Each vector is doubled, and again while it is shorter than 6 Å.
    """
    sizes = []
    for length in np.linalg.norm(crystal.lattice, axis=1):
        multiple = 2
        while multiple * length < MIN_LENGTH:
            multiple *= 2
        sizes.append(multiple)
    a, b, c = sizes
    return a, b, c
