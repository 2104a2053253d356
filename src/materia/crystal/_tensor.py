"""What the symmetry of a crystal demands of a tensor property."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from materia.crystal._crystal import Crystal
from materia.crystal._symmetry import symmetry_of

SYMPREC = 0.01  # Å: what published structures are rounded and relaxed to


def symmetrised(crystal: Crystal, tensor: NDArray[np.float64], symprec: float = SYMPREC) -> NDArray[np.float64]:
    """The part of a rank-2 tensor that the crystal's point group leaves as it is (Neumann's principle).

    A tensor given in another frame than the structure's loses much of itself here.

    Args:
        crystal: fixes the frame: Cartesian, that of its lattice vectors.
        tensor: (3, 3).
        symprec: tolerance on positions, Å. Where spglib finds no symmetry, the tensor comes back as it is.
    """
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    found = symmetry_of("get_symmetry", cell, symprec=symprec)
    if found is None:
        return np.array(tensor, dtype=np.float64)
    columns = crystal.lattice.T  # fractional to Cartesian
    operations = columns @ np.unique(found["rotations"], axis=0) @ np.linalg.inv(columns)
    mean: NDArray[np.float64] = (operations @ tensor @ operations.transpose(0, 2, 1)).mean(axis=0)
    return mean
