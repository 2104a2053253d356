"""Even, Gamma-centred k-point grids at a stated density, as symmetric as the crystal."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal

SYMPREC = 1e-3  # Å


def grid_size(crystal: Crystal, density: float) -> tuple[int, int, int]:
    """Even numbers of k-points along the reciprocal vectors, at least ``density`` per 1/Å (2π included).

    Where the point group mixes directions that would get different numbers (primitive cells of body-centred
    tetragonal crystals), all three get the largest: a grid less symmetric than the crystal cannot be reduced by it.
    """
    reciprocal = 2 * math.pi * np.linalg.inv(crystal.lattice).T
    sizes = [max(2, 2 * math.ceil(np.linalg.norm(b) * density / 2)) for b in reciprocal]
    if not all(_maps_onto_itself(sizes, rotation) for rotation in _rotations(crystal)):
        sizes = [max(sizes)] * 3
    a, b, c = sizes
    return a, b, c


def _maps_onto_itself(sizes: list[int], rotation: NDArray[np.int64]) -> bool:
    """A rotation takes k = m/N to another point of the grid for all m if N_i R_ij / N_j is whole for all i, j."""
    n = np.array(sizes)
    scaled = n[:, None] * np.linalg.inv(rotation).T.round().astype(int) / n[None, :]
    return bool(np.allclose(scaled, scaled.round()))


def _rotations(crystal: Crystal) -> NDArray[np.int64]:
    import spglib

    found = spglib.get_symmetry((crystal.lattice, crystal.frac_coords, crystal.numbers), symprec=SYMPREC)
    if found is None:
        return np.eye(3, dtype=int)[None]
    rotations: NDArray[np.int64] = np.unique(found["rotations"], axis=0)
    return rotations


def irreducible_kpoints(crystal: Crystal, density: float) -> int:
    """Points of the grid left by symmetry and time reversal."""
    import spglib

    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    mapping, _ = spglib.get_ir_reciprocal_mesh(grid_size(crystal, density), cell, symprec=SYMPREC)
    return len(np.unique(mapping))
