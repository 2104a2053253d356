"""The sets of this benchmark and their split by formula."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia.crystal import Crystal

FOLDERS = {
    "mp_20": "mp_20_biternary",
    "gaps": "multifidelity_gaps",
    "masses": "boltztrap_effective_mass",
    "elastic": "dejong_elastic",
    "exfoliation": "jarvis_dft3d_subset",
}


@dataclass(frozen=True)
class Row:
    """One structure of a set.

    Attributes:
        id: in the set.
        crystal: the structure.
        labels: field -> value; those that are known.
        part: ``train``, ``validation`` (a tenth of the training part: where settings are chosen) or ``test``.
    """

    id: str
    crystal: Crystal
    labels: Mapping[str, Any]
    part: str


def part_of(formula: str) -> str:
    """A fifth of all reduced formulas is the test part, whatever the set; a tenth of the others is for validation."""
    number = int(hashlib.sha1(formula.encode()).hexdigest(), 16)
    if number % 5 == 0:
        return "test"
    return "validation" if number // 5 % 10 == 0 else "train"


def path(data: Path, name: str) -> Path:
    return data / FOLDERS[name] / f"{FOLDERS[name]}.jsonl.gz"


def read(data: Path, name: str, max_atoms: int | None = None) -> list[Row]:
    """The structures of a set, in the file's order.

    Exfoliation energies have the leaderboard's split, all others that of :func:`part_of`.
    """
    rows = []
    with gzip.open(path(data, name), "rt") as lines:
        for record in map(json.loads, lines):
            if max_atoms is not None and len(record["structure"]["species"]) > max_atoms:
                continue
            crystal = Crystal.from_record(record["structure"])
            labels = {k: v for k, v in record["targets"].items() if v is not None}
            part = part_of(crystal.formula)
            if name == "exfoliation":
                if "exfoliation_energy_meV_per_atom" not in labels:
                    continue
                own = record["leaderboard_split"]["exfoliation_energy_meV_per_atom"]
                part = {"val": "validation"}.get(own, own)
            rows.append(Row(record["id"], crystal, labels, part))
    return rows
