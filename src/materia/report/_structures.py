"""Crystals as the page's viewer draws them: conventional cell, atoms on its faces repeated, bonds, colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, symbol

_MOST_ATOMS = 64
_EDGE = 0.02  # fractional distance at which an atom counts as lying on a face
_BOND_STRETCH = 1.15  # over the nearest neighbour's distance
_BOND_RADII = 1.35  # over the sum of covalent radii


def scene(record: dict[str, Any]) -> dict[str, Any]:
    """What the viewer needs of one crystal record.

    Returns:
        ``atoms`` [x, y, z, element number] in Å around the cell's centre, ``bonds`` [i, j], ``cell`` (3 rows, Å),
        ``origin``, ``elements`` [{s, colour, r}], and facts for people (``spacegroup``, lengths, angles...).

    Raises:
        StructureError, ElementError: the record is no crystal.
    """
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    crystal = Crystal.from_record(record)
    shown, group = _conventional(crystal)
    coords, numbers = _with_faces(shown)
    centre = shown.lattice.sum(axis=0) / 2
    positions = coords @ shown.lattice - centre
    radii = np.asarray(covalent_radii)[numbers]
    kinds = list(dict.fromkeys(int(z) for z in shown.numbers))
    return {
        "atoms": [
            [*(round(float(v), 3) for v in p), kinds.index(int(z))] for p, z in zip(positions, numbers, strict=True)
        ],
        "bonds": _bonds(positions, numbers, radii, _nearest(shown)),
        "cell": shown.lattice.round(4).tolist(),
        "origin": (-centre).round(4).tolist(),
        "elements": [
            {"s": symbol(z), "colour": _hex(jmol_colors[z]), "r": round(float(covalent_radii[z]), 2)} for z in kinds
        ],
        "spacegroup": group,
        "n_atoms": shown.n_atoms,
        **_lengths(shown),
    }


def _conventional(crystal: Crystal) -> tuple[Crystal, str]:
    """The standard conventional cell and its space group; the crystal itself where symmetry finds none."""
    import spglib

    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    data = spglib.get_symmetry_dataset(cell, symprec=1e-2)
    if data is None:
        return crystal, ""
    group = f"{data.international} ({data.number})"
    if len(data.std_types) > _MOST_ATOMS:
        return crystal, group
    return Crystal(np.array(data.std_lattice), np.array(data.std_types), np.array(data.std_positions)), group


def _with_faces(crystal: Crystal) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(m, 3) fractional coordinates and (m,) numbers with atoms on faces, edges and corners repeated."""
    coords, numbers = [], []
    wrapped = crystal.frac_coords % 1.0
    wrapped[wrapped > 1 - _EDGE] -= 1.0
    for place, z in zip(wrapped, crystal.numbers, strict=True):
        shifts = np.stack(np.meshgrid(*[(0, 1) if abs(v) < _EDGE else (0,) for v in place], indexing="ij"), axis=-1)
        for shift in shifts.reshape(-1, 3):
            coords.append(place + shift)
            numbers.append(z)
    return np.array(coords), np.array(numbers)


def _nearest(crystal: Crystal) -> dict[int, float]:
    """Atomic number -> shortest distance of any atom of that kind to another atom, in the periodic crystal (Å)."""
    shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (crystal.frac_coords[None] + shifts[:, None]).reshape(-1, 3) @ crystal.lattice
    distances = np.linalg.norm(crystal.positions[:, None] - images[None], axis=-1)
    distances[distances < 1e-3] = np.inf
    shortest = distances.min(axis=1)
    return {int(z): float(shortest[crystal.numbers == z].min()) for z in np.unique(crystal.numbers)}


def _bonds(
    positions: NDArray[np.float64], numbers: NDArray[np.int64], radii: NDArray[np.float64], nearest: dict[int, float]
) -> list[list[int]]:
    """Pairs not much further apart than the nearest neighbours of both; like atoms only where all are alike."""
    bonds = []
    alike = len(nearest) == 1
    for i in range(len(positions)):
        for j in range(i):
            if numbers[i] == numbers[j] and not alike:
                continue
            distance = float(np.linalg.norm(positions[i] - positions[j]))
            reach = _BOND_STRETCH * min(nearest[int(numbers[i])], nearest[int(numbers[j])])
            if 0.1 < distance <= min(reach, _BOND_RADII * float(radii[i] + radii[j])):
                bonds.append([j, i])
    return bonds


def _lengths(crystal: Crystal) -> dict[str, Any]:
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    a, b, c = crystal.lattice / lengths[:, None]
    cosines = np.clip([b @ c, a @ c, a @ b], -1, 1)
    return {
        "lengths": [round(float(v), 3) for v in lengths],
        "angles": [round(float(v), 1) for v in np.degrees(np.arccos(cosines))],
        "volume": round(crystal.volume, 2),
    }


def _hex(rgb: Any) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(round(255 * float(c)) for c in rgb))
