"""When two structures are the same: a stated rounding, and a hash of what it leaves."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from math import gcd

import numpy as np

from materia.crystal._crystal import Crystal
from materia.crystal._symmetry import symmetry_of

LENGTH_DECIMALS = 4  # Å: far below what DFT resolves, far above float noise
FRACTION_DECIMALS = 5


def structure_hash(crystal: Crystal) -> str:
    """Hash of the geometry as a calculation sees it (16 hex digits).

    Lattice vectors are rounded to 1e-4 Å, fractional coordinates wrapped into [0, 1) and rounded to
    1e-5; atoms are sorted by element and position. The order of atoms and whole-lattice translations
    of an atom therefore change nothing; a rotated cell or another choice of origin is a different input.
    """
    lattice = np.round(crystal.lattice, LENGTH_DECIMALS) + 0.0
    frac = np.round(crystal.frac_coords % 1.0, FRACTION_DECIMALS) % 1.0 + 0.0
    atoms = sorted((int(z), *f) for z, f in zip(crystal.numbers, frac.tolist(), strict=True))
    text = json.dumps([[f"{x:.{LENGTH_DECIMALS}f}" for x in lattice.ravel()], _format(atoms)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _format(atoms: list[tuple[int, ...]]) -> list[list[str]]:
    return [[str(z), *(f"{x:.{FRACTION_DECIMALS}f}" for x in f)] for z, *f in atoms]


def prototype_label(crystal: Crystal, symprec: float = 0.01) -> str:
    """Anonymous formula, space group and Wyckoff letters, such as ``AB_216_a_c``.

    Species are ordered by count, then by Wyckoff letters, so that chemistry plays no part: ZnS and GaAs
    in zincblende share a label. Falls back to space group 1 where spglib finds no symmetry.

    Args:
        crystal: any cell of the structure.
        symprec: tolerance on positions, Å.
    """
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    dataset = symmetry_of("get_symmetry_dataset", cell, symprec=symprec)
    number = 1 if dataset is None else int(dataset.number)
    letters = ["a"] * crystal.n_atoms if dataset is None else list(dataset.wyckoffs)
    equivalent = list(range(crystal.n_atoms)) if dataset is None else list(dataset.crystallographic_orbits)
    orbits: dict[int, list[str]] = {}
    counts: dict[int, int] = {}
    for i, z in enumerate(crystal.numbers.tolist()):
        counts[z] = counts.get(z, 0) + 1
        if equivalent[i] == i:
            orbits.setdefault(z, []).append(letters[i])
    divisor = np.gcd.reduce(list(counts.values()))
    species = sorted((counts[z] // divisor, "".join(sorted(orbits.get(z, [])))) for z in counts)
    names = "".join("ABCDEFGH"[k] + (str(n) if n > 1 else "") for k, (n, _) in enumerate(species))
    return f"{names}_{number}_" + "_".join(w for _, w in species)


def structure_type(crystal: Crystal, symprec: float = 0.01) -> str:
    """Anonymous formula, space group and multiplicities of the occupied orbits, such as ``AB_225_4_4``.

    Coarser than :func:`prototype_label` and, unlike it, independent of the choice of origin: the orbits' sizes in the
    conventional cell stand for their Wyckoff letters.

    Args:
        crystal: any cell of the structure.
        symprec: tolerance on positions, Å.
    """
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    dataset = symmetry_of("get_symmetry_dataset", cell, symprec=symprec)
    number = 1 if dataset is None else int(dataset.number)
    orbits = range(crystal.n_atoms) if dataset is None else dataset.crystallographic_orbits.tolist()
    grown = 1.0 if dataset is None else len(dataset.std_types) / crystal.n_atoms  # to the conventional cell
    homes = list(zip(crystal.numbers.tolist(), orbits, strict=True))
    counts, sizes = Counter(crystal.numbers.tolist()), Counter(homes)
    divisor = gcd(*counts.values())
    species = sorted(
        (counts[z] // divisor, sorted(round(n * grown) for (kind, _), n in sizes.items() if kind == z)) for z in counts
    )
    names = "".join("ABCDEFGH"[k % 8] + (str(n) if n > 1 else "") for k, (n, _) in enumerate(species))
    return f"{names}_{number}_" + "_".join("-".join(str(m) for m in found) for _, found in species)
