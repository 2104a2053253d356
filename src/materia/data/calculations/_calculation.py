"""One finished calculation: what was computed, on what, and with which settings."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from materia import quantities as q
from materia.crystal import Crystal
from materia.errors import MateriaError
from materia.quantities import Fidelity

# What a program's number is called here, by the functional it was computed with. A functional that is not here has no
# quantity to become a label of: a PBE+U gap is no PBE gap.
FIELDS: Mapping[str, Mapping[str, str]] = {
    Fidelity.PBE: {"energy": q.ENERGY, "gap": q.GAP_PBE, "volume": q.VOLUME},
    Fidelity.HSE06: {"gap": q.GAP_HSE06},
    Fidelity.MP_PBE: {"formation": q.FORMATION_ENERGY_MP, "gap": q.GAP_MP, "above_hull": q.ENERGY_ABOVE_HULL_MP},
}


class UnusableError(MateriaError):
    """A calculation that no label can be made of; ``what`` is the reason for the quarantine."""


@dataclass(frozen=True)
class Calculation:
    """A calculation that ended well.

    Attributes:
        place: file, with the record in it where it holds several.
        digest: SHA-256 of the file as it lies there (of its record, where it holds several).
        name: how the file calls it; empty where it does not.
        code, version: the program.
        functional: a key of :data:`FIELDS`.
        initial, structure: before and after; the same where nothing was relaxed.
        numbers: ``energy`` (eV/atom, extrapolated to zero smearing), ``gap`` (eV, of the grid's eigenvalues; 0 for a
            metal), ``volume`` (Å³/atom, of a relaxed cell), ``formation`` and ``above_hull`` (eV/atom).
        settings: what the numbers depend on: ``cutoff_ev``, ``kpoints``, ``smearing``, ``smearing_ev``, ``spin``,
            ``pseudopotentials`` (element -> name or digest); what is not stated is absent.
        relaxation: ``steps``, ``max_force`` (eV/Å), ``max_stress`` (GPa), as far as the file tells.
    """

    place: str
    digest: str
    name: str
    code: str
    version: str
    functional: str
    initial: Crystal
    structure: Crystal
    numbers: Mapping[str, float]
    settings: Mapping[str, Any]
    relaxation: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """quantity -> value."""
        names = FIELDS[self.functional]
        return {names[name]: value for name, value in self.numbers.items() if name in names}

    @property
    def level_settings(self) -> dict[str, Any]:
        """What a level of theory states: everything but what belongs to one structure.

        Of the grid of k-points that is the whole number of them per 1/Å (2π included) which each direction has at
        least. The pseudopotentials stand with the entry, as materia's own stand with the job.
        """
        settings = {"code": self.code, "functional": self.functional, **self.settings}
        grid = settings.pop("kpoints", None)
        if isinstance(grid, Sequence) and len(grid) == 3:
            lengths = np.linalg.norm(2 * math.pi * np.linalg.inv(self.initial.lattice).T, axis=1)
            settings["kpoint_density"] = math.floor(min(np.array(grid) / lengths) + 1e-6)
        settings.pop("pseudopotentials", None)
        return settings

    @property
    def level_hash(self) -> str:
        """Hash of :attr:`level_settings` (12 hex digits)."""
        return hashlib.sha256(json.dumps(self.level_settings, sort_keys=True).encode()).hexdigest()[:12]


def check_functional(functional: str) -> str:
    """The functional, if labels can be made of it.

    Raises:
        UnusableError: there is no quantity of that fidelity.
    """
    if functional not in FIELDS:
        raise UnusableError(
            f"computed with {functional or 'a functional the file does not name'}: known are {_known()}"
        )
    return functional


def _known() -> str:
    return ", ".join(sorted(str(name) for name in FIELDS))


def finite(value: Any, what: str) -> float:
    """The number.

    Raises:
        UnusableError: it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UnusableError(f"{what} is {value!r}, which is no number") from None
    if not math.isfinite(number):
        raise UnusableError(f"{what} is {number}, which is no finite number")
    return number


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record's canonical JSON."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()
