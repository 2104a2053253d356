"""The elemental phases that formation energies are counted from, and how each is computed.

Solids are relaxed at the level; molecules sit in a box, positions relaxed, O2 as a triplet. Layered solids
(graphite, black phosphorus) stay at the measured geometry, since PBE does not bind layers. Sulfur is the boxed
S8 ring: its molecular crystal of 32 atoms differs by tens of meV per atom, which is part of the stated error.
Measured cells: Wyckoff, Crystal Structures (1963); Donohue, The Structures of the Elements (1974).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from materia.crystal import Crystal

SIMPLE = {
    "fcc": {"Al": 4.04, "Ca": 5.53, "Cu": 3.63, "Ag": 4.15, "Au": 4.16, "Sr": 6.02, "Pb": 5.03},
    "bcc": {
        "Li": 3.44, "Na": 4.20, "K": 5.28, "Rb": 5.67, "Cs": 6.16, "Ba": 5.03, "V": 2.99, "Nb": 3.31, "Ta": 3.32,
        "Mo": 3.16, "W": 3.19,
    },
    "diamond": {"Si": 5.47, "Ge": 5.77, "Sn": 6.65},
}  # fmt: skip
HCP = {
    "Be": (2.26, 3.57), "Mg": (3.19, 5.19), "Zn": (2.65, 4.96), "Cd": (3.03, 5.78), "Sc": (3.32, 5.16),
    "Y": (3.66, 5.67), "Ti": (2.94, 4.65), "Zr": (3.23, 5.17), "Hf": (3.20, 5.06),
}  # fmt: skip
A7 = {"As": (3.82, 10.8, 0.228), "Sb": (4.38, 11.5, 0.234), "Bi": (4.58, 12.0, 0.234)}
TRIGONAL_CHAINS = {"Se": (4.50, 5.05, 0.217), "Te": (4.50, 5.96, 0.269)}
DIMERS = {"N": 1.11, "O": 1.22, "F": 1.41, "Cl": 2.00, "Br": 2.31, "I": 2.68}


def references() -> Iterator[tuple[str, str, str, Crystal]]:
    """(element, phase, recipe, structure), cheapest first."""
    for structure, table in SIMPLE.items():
        for element, a in table.items():
            yield element, structure, "relax", Crystal.from_ase(bulk(element, structure, a=a))
    for element, (a, c) in HCP.items():
        yield element, "hcp", "relax", Crystal.from_ase(bulk(element, "hcp", a=a, c=c))
    indium = Atoms("In2", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=(3.29, 3.29, 5.06), pbc=True)
    yield "In", "bct", "relax", Crystal.from_ase(indium)
    for element, (a, c, z) in A7.items():
        atoms = crystal([element], [(0, 0, z)], spacegroup=166, cellpar=[a, a, c, 90, 90, 120], primitive_cell=True)
        yield element, "A7", "relax", Crystal.from_ase(atoms)
    for element, (a, c, u) in TRIGONAL_CHAINS.items():
        atoms = crystal([element], [(u, 0, 1 / 3)], spacegroup=152, cellpar=[a, a, c, 90, 90, 120])
        yield element, "trigonal chains", "relax", Crystal.from_ase(atoms)
    for element, length in DIMERS.items():
        atoms = Atoms([element] * 2, positions=[(4, 4, 4), (4, 4, 4 + length)], cell=(8, 8, 8 + length))
        yield element, "molecule", "molecule", Crystal.from_ase(atoms)
    layered = crystal(
        ["C", "C"],
        [(0, 0, 0.25), (1 / 3, 2 / 3, 0.25)],
        spacegroup=194,
        cellpar=[2.464, 2.464, 6.711, 90, 90, 120],
    )
    yield "C", "graphite", "static", Crystal.from_ase(layered)
    phosphorus = crystal(
        ["P"],
        [(0, 0.1017, 0.0806)],
        spacegroup=64,
        cellpar=[3.314, 10.478, 4.376, 90, 90, 90],
        primitive_cell=True,
    )
    yield "P", "black", "static", Crystal.from_ase(phosphorus)
    gallium = crystal(
        ["Ga"],
        [(0, 0.153, 0.081)],
        spacegroup=64,
        cellpar=[4.52, 7.66, 4.53, 90, 90, 90],
        primitive_cell=True,
    )
    yield "Ga", "alpha", "relax", Crystal.from_ase(gallium)
    sites = [(0, 0, 0), (1 / 3, 2 / 3, 0.25)]
    lanthanum = crystal(["La", "La"], sites, spacegroup=194, cellpar=[3.77, 3.77, 12.1, 90, 90, 120])
    yield "La", "dhcp", "relax", Crystal.from_ase(lanthanum)
    boron = crystal(
        ["B", "B"], [(0.1188, 0.2376, 0.8912), (0.1961, 0.3922, 0.0243)], spacegroup=166,
        cellpar=[4.908, 4.908, 12.559, 90, 90, 120], primitive_cell=True,
    )  # fmt: skip
    yield "B", "alpha", "relax", Crystal.from_ase(boron)
    yield "S", "S8 molecule", "molecule", Crystal.from_ase(_s8_ring())


def _s8_ring() -> Atoms:
    angles = np.arange(8) * np.pi / 4
    ring = np.column_stack([2.36 * np.cos(angles), 2.36 * np.sin(angles), 0.5 * (-1.0) ** np.arange(8)])
    atoms = Atoms("S8", positions=ring, cell=(10.5, 10.5, 7.5))
    atoms.center()
    return atoms
