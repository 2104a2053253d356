"""A periodic structure as three arrays, with conversions to what the field uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal._symbols import atomic_number, symbol
from materia.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure


@dataclass(frozen=True, eq=False)
class Crystal:
    """A crystal: cell, species, positions.

    Attributes:
        lattice: (3, 3) lattice vectors as rows, Å.
        numbers: (n_atoms,) atomic numbers.
        frac_coords: (n_atoms, 3) fractional coordinates.

    Raises:
        StructureError: shapes disagree, a value is not finite, or the cell has no volume.
    """

    lattice: NDArray[np.float64]
    numbers: NDArray[np.int64]
    frac_coords: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", np.asarray(self.lattice, dtype=np.float64))
        object.__setattr__(self, "numbers", np.asarray(self.numbers, dtype=np.int64))
        object.__setattr__(self, "frac_coords", np.asarray(self.frac_coords, dtype=np.float64))
        n = len(self.numbers)
        if self.lattice.shape != (3, 3) or self.frac_coords.shape != (n, 3) or n == 0:
            raise StructureError(
                f"a crystal needs a (3, 3) lattice and (n, 3) coordinates for n >= 1 atoms; "
                f"got {self.lattice.shape} and {self.frac_coords.shape} for {n} atoms"
            )
        if not (np.isfinite(self.lattice).all() and np.isfinite(self.frac_coords).all()):
            raise StructureError("a lattice vector or coordinate is not a finite number")
        if self.volume < 1e-3:
            raise StructureError(f"the cell has no volume ({self.volume:.2e} Å³)")

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    @cached_property
    def volume(self) -> float:
        """Cell volume, Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def symbols(self) -> list[str]:
        return [symbol(int(z)) for z in self.numbers]

    @property
    def positions(self) -> NDArray[np.float64]:
        """(n_atoms, 3) Cartesian positions, Å."""
        return self.frac_coords @ self.lattice

    @cached_property
    def composition(self) -> dict[str, int]:
        """Atoms of each element in the cell, in alphabetical order."""
        return dict(sorted(Counter(self.symbols).items()))

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(self.composition)

    @cached_property
    def formula(self) -> str:
        """Reduced formula, ordered by electronegativity as chemists write it (``CuGaS2``)."""
        return reduced_formula(self.composition)

    @property
    def n_formula_units(self) -> int:
        return gcd(*self.composition.values())

    def scaled_to_volume(self, volume: float) -> Crystal:
        """The same crystal, isotropically scaled to ``volume`` (Å³)."""
        return Crystal(self.lattice * (volume / self.volume) ** (1 / 3), self.numbers, self.frac_coords)

    def to_record(self) -> dict[str, Any]:
        """Plain JSON form: ``{"lattice": (3x3, Å, rows), "species": [...], "frac_coords": [...]}``."""
        return {
            "lattice": self.lattice.round(12).tolist(),
            "species": self.symbols,
            "frac_coords": self.frac_coords.round(14).tolist(),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Crystal:
        """Inverse of :meth:`to_record`.

        Raises:
            StructureError: a key is missing or the values make no crystal.
            ElementError: a species is no element.
        """
        try:
            lattice, species, coords = record["lattice"], record["species"], record["frac_coords"]
        except (KeyError, TypeError) as error:
            raise StructureError(
                f"a structure record needs lattice, species and frac_coords; {error} is missing"
            ) from error
        return cls.from_species(lattice, species, coords)

    @classmethod
    def from_species(cls, lattice: Any, species: Sequence[str], frac_coords: Any) -> Crystal:
        """From symbols instead of atomic numbers; arguments as the attributes."""
        return cls(np.asarray(lattice), np.array([atomic_number(s) for s in species]), np.asarray(frac_coords))

    def to_ase(self) -> Atoms:
        from ase import Atoms

        return Atoms(numbers=self.numbers, cell=self.lattice, scaled_positions=self.frac_coords, pbc=True)

    @classmethod
    def from_ase(cls, atoms: Atoms) -> Crystal:
        return cls(np.array(atoms.cell[:]), np.array(atoms.numbers), np.array(atoms.get_scaled_positions(wrap=False)))

    def to_pymatgen(self) -> Structure:
        from pymatgen.core import Lattice, Structure

        return Structure(Lattice(self.lattice), self.symbols, self.frac_coords)

    @classmethod
    def from_pymatgen(cls, structure: Structure) -> Crystal:
        if not structure.is_ordered:
            raise StructureError(f"{structure.formula} has partly occupied sites; materia needs ordered structures")
        return cls(
            np.array(structure.lattice.matrix),
            np.array(structure.atomic_numbers),
            np.array(structure.frac_coords),
        )

    def __repr__(self) -> str:
        return f"Crystal({self.formula}, {self.n_atoms} atoms, {self.volume:.2f} Å³)"


def reduced_formula(composition: dict[str, int]) -> str:
    """Reduced formula of a cell's composition, elements by rising Pauling electronegativity."""
    from materia.crystal._symbols import electronegativity

    divisor = gcd(*composition.values())
    ordered = sorted(composition, key=lambda s: (electronegativity(s), s))
    return "".join(s + (str(composition[s] // divisor) if composition[s] // divisor > 1 else "") for s in ordered)
