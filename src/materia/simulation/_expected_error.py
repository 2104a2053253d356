"""How far the results of a protocol are expected to be from converged ones, as measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from materia.resources import resource
from materia.simulation._levels import LEVELS, Level

FILE = "data/protocols.json"
LEAST = 0.001  # deviations are written down to so many units
_WORDS = (
    ("gap_ev", "gaps", "eV"),
    ("lattice_percent", "lattice constants", "%"),
    ("formation_mev", "formation energies", "meV/atom"),
)


@dataclass(frozen=True)
class ExpectedError:
    """Deviations from a stricter level on compounds that are hard to converge.

    What PBE itself is off by is not in them (experiments/benchmarks/dft_reference).

    Attributes:
        against: the stricter level.
        deviations: ``gap_ev`` (eV), ``lattice_percent`` and ``formation_mev`` (meV/atom), as far as they were measured:
            (mean absolute, largest) deviation.
        compounds: of which gap and lattice constant were compared.
    """

    against: str
    deviations: Mapping[str, Sequence[float]]
    compounds: int

    def to_record(self) -> dict[str, Any]:
        """As JSON keeps it."""
        deviations = {name: list(pair) for name, pair in self.deviations.items()}
        return {"against": self.against, "deviations": deviations, "compounds": self.compounds}

    def __str__(self) -> str:
        parts = [
            f"{name} by {_number(mean)} {unit} ({_number(largest)} at most)"
            for key, name, unit in _WORDS
            if key in self.deviations
            for mean, largest in [self.deviations[key]]
        ]
        return f"from {self.against}, mean of {self.compounds} compounds: {', '.join(parts)}"


def _number(value: float) -> str:
    if value < LEAST:
        return f"under {LEAST:g}"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def expected_error(level: Level) -> ExpectedError | None:
    """What was measured of the level; None where nothing was: it is a potential's, or one of another engine than GPAW,
    whose pseudopotentials are the user's."""
    if LEVELS.get(level.name) != level or level.name not in _measured():
        return None
    found = _measured()[level.name]
    deviations = {key: (found[key]["mean"], abs(found[key]["largest"])) for key, _, _ in _WORDS if key in found}
    return ExpectedError(found["against"], deviations, found["gap_ev"]["compounds"])


@cache
def _measured() -> Mapping[str, Any]:
    levels: Mapping[str, Any] = json.loads(resource(FILE).read_text())["levels"]
    return levels
