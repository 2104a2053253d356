"""Even k-point grids at a stated density, as symmetric as the crystal: Gamma-centred, or shifted ones together."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, symmetry_of

SYMPREC = 1e-3  # Å


def grid_size(crystal: Crystal, density: float) -> tuple[int, int, int]:
    """Even numbers of k-points along the reciprocal vectors, at least ``density`` per 1/Å (2π included).

    Where the point group mixes directions that would get different numbers (primitive cells of body-centred
    tetragonal crystals), all three get the largest: a grid less symmetric than the crystal cannot be reduced by it.
    """
    reciprocal = 2 * math.pi * np.linalg.inv(crystal.lattice).T
    sizes = [max(2, 2 * math.ceil(np.linalg.norm(b) * density / 2)) for b in reciprocal]
    a, b, c = sizes
    if a == b == c or _maps_onto_itself(*_shape(crystal), (a, b, c)):
        return a, b, c
    return (max(sizes),) * 3


def irreducible_kpoints(crystal: Crystal, density: float, size: tuple[int, int, int] | None = None) -> int:
    """Points of the grid at that density, or of that size where one is given, left by symmetry and time reversal."""
    return _irreducible(*_shape(crystal), size or grid_size(crystal, density))


def shifted_kpoints(crystal: Crystal, density: float) -> NDArray[np.float64]:
    """(n, 3) fractional: a grid moved by half a spacing along each axis, and all its images.

    Response converges much faster on grids that avoid the zone centre and its planes, but in many lattices (fcc) one
    shifted grid is less symmetric than the crystal. Together with its images under the point group, which are shifted
    grids too, it can be reduced by symmetry again, and isotropic crystals stay isotropic.

    Args:
        density: of all points together, as of :func:`grid_size`: each of the grids is the coarser, the more there are.
    """
    of_one = _shifts(crystal, grid_size(crystal, density))
    size = grid_size(crystal, density / len(of_one) ** (1 / 3))
    corners = np.indices(size).reshape(3, -1).T
    points: NDArray[np.float64] = np.vstack([(corners + shift) / size for shift in _shifts(crystal, size)])
    return points - np.ceil(points - 0.5 - 1e-9)


def _shifts(crystal: Crystal, size: tuple[int, int, int]) -> NDArray[np.float64]:
    """(n, 3) in spacings of the grid: the half of each, as the point group turns it."""
    rotations = _rotations(*_shape(crystal)).transpose(0, 2, 1)  # of reciprocal space: with R, its inverse is there too
    found: NDArray[np.float64] = np.unique((rotations @ (0.5 / np.array(size)) * size).round(6) % 1.0, axis=0)
    return found


def _shape(crystal: Crystal) -> tuple[bytes, bytes, bytes]:
    """What symmetry hangs on: the cell at unit volume, which sites hold equal elements, and where they are.

    Crystals of one prototype share it, so a pool of thousands asks spglib a few times only.
    """
    lattice = (crystal.lattice / crystal.volume ** (1 / 3)).round(8) + 0.0
    _, kinds = np.unique(crystal.numbers, return_inverse=True)
    return lattice.tobytes(), kinds.astype(np.int64).tobytes(), (crystal.frac_coords.round(8) + 0.0).tobytes()


def _cell(lattice: bytes, kinds: bytes, coordinates: bytes) -> Any:
    return (
        np.frombuffer(lattice).reshape(3, 3) * 5.0,  # about 100 Å³, where the tolerance in Å is meant for
        np.frombuffer(coordinates).reshape(-1, 3),
        np.frombuffer(kinds, dtype=np.int64) + 1,
    )


@lru_cache(maxsize=4096)
def _rotations(lattice: bytes, kinds: bytes, coordinates: bytes) -> NDArray[np.int64]:
    found = symmetry_of("get_symmetry", _cell(lattice, kinds, coordinates), symprec=SYMPREC)
    if found is None:
        return np.eye(3, dtype=int)[None]
    rotations: NDArray[np.int64] = np.unique(found["rotations"], axis=0)
    return rotations


@lru_cache(maxsize=16384)
def _maps_onto_itself(lattice: bytes, kinds: bytes, coordinates: bytes, sizes: tuple[int, int, int]) -> bool:
    """A rotation takes k = m/N to another point of the grid for all m if N_i R_ij / N_j is whole for all i, j."""
    inverse = np.linalg.inv(_rotations(lattice, kinds, coordinates)).transpose(0, 2, 1).round()
    n = np.array(sizes)
    scaled = n[:, None] * inverse / n[None, :]
    return bool(np.allclose(scaled, scaled.round()))


@lru_cache(maxsize=16384)
def _irreducible(lattice: bytes, kinds: bytes, coordinates: bytes, sizes: tuple[int, int, int]) -> int:
    cell = _cell(lattice, kinds, coordinates)
    found = symmetry_of("get_ir_reciprocal_mesh", sizes, cell, symprec=SYMPREC)
    return math.prod(sizes) if found is None else len(np.unique(found[0]))
