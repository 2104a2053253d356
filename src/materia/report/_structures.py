"""Crystals as the page's viewer draws them: conventional cell, atoms on its faces repeated, bonds, colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, electronegativity, symbol, symmetry_of

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
    nearest = _nearest(shown)
    coords, numbers = _with_faces(shown, nearest)
    centre = shown.lattice.sum(axis=0) / 2
    positions = coords @ shown.lattice - centre
    kinds = sorted({int(z) for z in shown.numbers}, key=lambda z: (electronegativity(symbol(z)), z))
    return {
        "atoms": [
            [*(round(float(v), 3) for v in p), kinds.index(int(z))] for p, z in zip(positions, numbers, strict=True)
        ],
        "bonds": _bonds(positions, numbers, nearest),
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
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    data = symmetry_of("get_symmetry_dataset", cell, symprec=1e-2)
    if data is None:
        return crystal, ""
    group = f"{data.international} ({data.number})"
    if len(data.std_types) > _MOST_ATOMS:
        return crystal, group
    return Crystal(np.array(data.std_lattice), np.array(data.std_types), np.array(data.std_positions)), group


def _with_faces(crystal: Crystal, nearest: dict[int, float]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(m, 3) fractional coordinates and (m,) numbers of what is drawn for one cell.

    Atoms on faces, edges and corners are repeated; atoms inside get the neighbours they are bonded to, even
    where those lie outside.
    """
    coords: list[NDArray[np.float64]] = []
    numbers: list[int] = []
    wrapped = crystal.frac_coords % 1.0
    wrapped[wrapped > 1 - _EDGE] -= 1.0
    for place, z in zip(wrapped, crystal.numbers, strict=True):
        on_face = [(0, 1) if abs(v) < _EDGE else (0,) for v in place]
        shifts = np.stack(np.meshgrid(*on_face, indexing="ij"), axis=-1).reshape(-1, 3)
        coords += [place + shift for shift in shifts]
        numbers += [int(z)] * len(shifts)
    inside = np.all((wrapped > _EDGE) & (wrapped < 1 - _EDGE), axis=1)
    shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for place, z in zip(wrapped[inside], crystal.numbers[inside], strict=True):
        for other, kind in zip(wrapped, crystal.numbers, strict=True):
            apart = np.linalg.norm((other + shifts - place) @ crystal.lattice, axis=1)
            for image in (other + shifts)[_bonded(apart, int(z), int(kind), nearest)]:
                if not any(np.abs(image - c).max() < 1e-3 for c in coords):
                    coords.append(image)
                    numbers.append(int(kind))
    return np.array(coords), np.array(numbers)


def _bonded(apart: NDArray[np.float64], first: int, second: int, nearest: dict[int, float]) -> NDArray[np.bool_]:
    """(n,) which of these distances (Å) between two kinds of atoms are bonds.

    Not much longer than the nearest neighbour's distance of both; like atoms only where all are alike.
    """
    from ase.data import covalent_radii

    if first == second and len(nearest) > 1:
        return np.zeros(len(apart), dtype=bool)
    reach = _BOND_STRETCH * min(nearest[first], nearest[second])
    reach = min(reach, _BOND_RADII * float(covalent_radii[first] + covalent_radii[second]))
    bonded: NDArray[np.bool_] = (apart > 0.1) & (apart <= reach)
    return bonded


def _nearest(crystal: Crystal) -> dict[int, float]:
    """Atomic number -> shortest distance of any atom of that kind to another atom, in the periodic crystal (Å)."""
    shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (crystal.frac_coords[None] + shifts[:, None]).reshape(-1, 3) @ crystal.lattice
    distances = np.linalg.norm(crystal.positions[:, None] - images[None], axis=-1)
    distances[distances < 1e-3] = np.inf
    shortest = distances.min(axis=1)
    return {int(z): float(shortest[crystal.numbers == z].min()) for z in np.unique(crystal.numbers)}


def _bonds(positions: NDArray[np.float64], numbers: NDArray[np.int64], nearest: dict[int, float]) -> list[list[int]]:
    """Bonded pairs among the atoms drawn."""
    bonds = []
    for i in range(len(positions)):
        for j in range(i):
            apart = np.array([np.linalg.norm(positions[i] - positions[j])])
            if _bonded(apart, int(numbers[i]), int(numbers[j]), nearest)[0]:
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
