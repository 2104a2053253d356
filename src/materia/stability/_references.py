"""Energies of the elements at one level: the zero of formation energies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from materia.crystal import Crystal, reduced_formula
from materia.errors import DatasetError, ElementError
from materia.files import write_whole
from materia.resources import resource

_OWN = ("level", "level_hash", "pseudopotentials", "units", "elements")  # of a file; the rest is its card


@dataclass(frozen=True)
class ElementReference:
    """The reference phase of one element.

    Attributes:
        energy_per_atom: total energy, eV/atom.
        phase: such as ``diamond`` or ``molecule``.
        recipe: that gave it.
        crystal: as the recipe left it.
        job: key of the calculation.
        cpu_s: that it took.
        versions: of the programs that computed it.
    """

    energy_per_atom: float
    phase: str = ""
    recipe: str = ""
    crystal: Crystal | None = None
    job: str = ""
    cpu_s: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """Element energies at one level of theory.

    Attributes:
        level: name of the level.
        level_hash: hash of every setting behind it; only energies with this hash may be combined with these.
        elements: by symbol.
        pseudopotentials: digest of the PAW dataset or pseudopotential that each element was computed with.
        card: what else the file says (title, notes, licence, settings of the level).
    """

    level: str
    level_hash: str
    elements: Mapping[str, ElementReference]
    pseudopotentials: Mapping[str, str] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> References:
        """From a file such as ``data/references.json``.

        Raises:
            DatasetError: the file is missing or damaged.
        """
        path = Path(path)
        try:
            doc: dict[str, Any] = json.loads(path.read_text())
            elements = {s: _reference(row) for s, row in doc["elements"].items()}
            card = {key: value for key, value in doc.items() if key not in _OWN}
            return cls(str(doc["level"]), str(doc["level_hash"]), elements, dict(doc.get("pseudopotentials", {})), card)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"the reference energies cannot be read: {type(error).__name__}: {error}",
                where=path,
                remedy="restore the file (data/references.json ships with materia), or compute it again",
            ) from error

    def save(self, path: str | Path) -> None:
        """Write a file that :meth:`load` reads.

        Raises:
            StorageError: the disk is full or not writable; what was there is left as it was.
        """
        content = {
            **self.card,
            "level": self.level,
            "level_hash": self.level_hash,
            "pseudopotentials": dict(sorted(self.pseudopotentials.items())),
            "units": {"energy_per_atom": "eV/atom", "structure.lattice": "Å"},
            "elements": {symbol: _row(reference) for symbol, reference in sorted(self.elements.items())},
        }
        write_whole(Path(path), json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def default(cls) -> References:
        """The references that ship with materia, at level ``standard``."""
        return cls.load(resource("data/references.json"))

    def energy_per_atom(self, symbol: str) -> float:
        """Energy of an element's reference phase, eV/atom.

        Raises:
            ElementError: it has not been computed at this level.
        """
        try:
            return self.elements[symbol].energy_per_atom
        except KeyError:
            raise ElementError(
                f"no reference energy of {symbol} at level {self.level!r}",
                remedy=f"leave {symbol} out, or compute its reference phase; there are: "
                + ", ".join(sorted(self.elements)),
            ) from None

    def formation_energy_per_atom(
        self, composition: Mapping[str, int], energy_per_atom: float, *, level_hash: str | None = None
    ) -> float:
        """Formation energy from the elements, eV/atom.

        Args:
            composition: atoms of each element in the cell.
            energy_per_atom: total energy of the compound, eV/atom, at the level of these references.
            level_hash: level of that energy; checked where given.

        Raises:
            ElementError: an element has no reference.
            DatasetError: the energy belongs to another level.
        """
        if level_hash is not None and level_hash != self.level_hash:
            raise DatasetError(
                f"an energy of {reduced_formula(dict(composition))} at level {level_hash} cannot be combined with "
                f"references at level {self.level_hash} ({self.level})",
                remedy="compute both with the same settings",
            )
        n = sum(composition.values())
        return energy_per_atom - sum(self.energy_per_atom(s) * k for s, k in composition.items()) / n


def _reference(row: Mapping[str, Any]) -> ElementReference:
    structure = row.get("structure")
    return ElementReference(
        energy_per_atom=float(row["energy_per_atom"]),
        phase=str(row.get("phase", "")),
        recipe=str(row.get("recipe", "")),
        crystal=None if structure is None else Crystal.from_record(structure),
        job=str(row.get("job", "")),
        cpu_s=float(row.get("cpu_s", 0.0)),
        versions=dict(row.get("versions", {})),
    )


def _row(reference: ElementReference) -> dict[str, Any]:
    structure = {} if reference.crystal is None else {"structure": reference.crystal.to_record()}
    return {
        "energy_per_atom": reference.energy_per_atom,
        "phase": reference.phase,
        "recipe": reference.recipe,
        **structure,
        "job": reference.job,
        "cpu_s": reference.cpu_s,
        "versions": dict(reference.versions),
    }
