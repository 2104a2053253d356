"""Whether a structure can be a crystal at all, checked before anything is spent on it."""

from __future__ import annotations

import numpy as np

from materia.crystal._crystal import Crystal
from materia.errors import StructureError

OVERLAP_FRACTION = 0.55  # of the sum of covalent radii; H-H in H2 sits at 1.19, P-P in P4 at 1.03
MIN_VOLUME_PER_ATOM = 2.0  # Å³; diamond, the densest in atoms per volume, has 5.7


def shortest_distance(crystal: Crystal) -> tuple[float, str, str]:
    """The bond that is shortest relative to its covalent radii: (distance in Å, symbol, symbol)."""
    ratio, distance, i, j = _closest(crystal)
    del ratio
    return distance, crystal.symbols[i], crystal.symbols[j]


def _closest(crystal: Crystal) -> tuple[float, float, int, int]:
    from ase.data import covalent_radii

    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T @ crystal.lattice
    positions = (crystal.frac_coords % 1.0) @ crystal.lattice
    radii = covalent_radii[crystal.numbers]
    difference = positions[None, :, None] - positions[:, None, None] + shifts
    distance = np.linalg.norm(difference, axis=-1)  # (n, n, 27)
    distance[np.arange(len(radii)), np.arange(len(radii)), 13] = np.inf  # the atom itself
    nearest = distance.min(axis=-1)
    ratio = nearest / (radii[:, None] + radii[None, :])
    i, j = np.unravel_index(int(np.argmin(ratio)), ratio.shape)
    return float(ratio[i, j]), float(nearest[i, j]), int(i), int(j)


def validate(crystal: Crystal, *, where: str | None = None) -> Crystal:
    """Return the crystal unchanged if it is physical.

    Raises:
        StructureError: atoms overlap or the cell is far too dense; names the pair and the distance.
    """
    per_atom = crystal.volume / crystal.n_atoms
    if per_atom < MIN_VOLUME_PER_ATOM:
        raise StructureError(
            f"{crystal.formula}: {per_atom:.2f} Å³ per atom is denser than any crystal",
            where=where,
            remedy="check the lattice vectors and their unit (Å)",
        )
    ratio, distance, i, j = _closest(crystal)
    if ratio < OVERLAP_FRACTION:
        raise StructureError(
            f"{crystal.formula}: atoms {i} ({crystal.symbols[i]}) and {j} ({crystal.symbols[j]}) overlap: "
            f"{distance:.2f} Å apart",
            where=where,
            remedy="check the coordinates; partly occupied sites must be ordered first",
        )
    return crystal


def touching_volume(crystal: Crystal) -> float:
    """Cell volume (Å³) at which the closest pair of atoms touches, by covalent radii.

    Depends on species, fractional coordinates and the shape of the cell, not on its size: a guess of the volume
    that needs no calculation. Radii: Cordero et al., Dalton Trans. 2832 (2008), as in ASE.
    """
    ratio, *_ = _closest(crystal)
    return crystal.volume / ratio**3
