"""What a killed calculation leaves to the next attempt: every geometry it solved, with energy, forces and stress.

An optimiser is a deterministic function of what it is told. So nothing of its inner state is kept: the next
attempt starts it at the same structure, answers from memory as long as the memory lasts, and computes from there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

CHECKPOINT: Final = "checkpoint.json"
PREVIOUS_ATTEMPT: Final = "MATERIA_PREVIOUS_ATTEMPT"
"""Environment variable: folder of the attempt before this one (set by ``compute``)."""
_ENTRIES: Final = ("cell", "positions", "energy", "forces", "stress")
_SAME: Final = 1e-10  # Å; memory and replay go through the same floating-point operations


class Remembering(Calculator):  # type: ignore[misc]
    """An ASE calculator that answers from ``folder/checkpoint.json`` and writes there what it had to compute.

    Args:
        calculator: asked for what is not remembered; energies in eV, forces in eV/Å, stress in eV/Å³.
        folder: attempt folder.
        writes: whether this process writes there; of several ranks, the first does.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (ASE's name and type)

    def __init__(self, calculator: Any, folder: Path, *, writes: bool = True) -> None:
        super().__init__()
        self.writes = writes
        self.calculator, self.path = calculator, folder / CHECKPOINT
        self.records: list[dict[str, Any]] = _read(self.path)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        known = next((record for record in self.records if _is_at(record, self.atoms)), None)
        if known is None:
            known = self._compute()
        self.results = {
            "energy": float(known["energy"]),
            "forces": np.array(known["forces"]),
            "stress": np.array(known["stress"]),
        }

    def _compute(self) -> dict[str, Any]:
        atoms = self.atoms.copy()
        atoms.calc = self.calculator
        record = {
            "cell": atoms.cell.array.tolist(),
            "positions": atoms.positions.tolist(),
            "energy": float(atoms.get_potential_energy()),
            "forces": atoms.get_forces().tolist(),
            "stress": atoms.get_stress().tolist(),
        }
        self.records.append(record)
        if not self.writes:
            return record
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w") as stream:
            json.dump(self.records, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.path)
        return record


def carry_over(folder: Path) -> int:
    """Take the checkpoint of the attempt before into this one's folder; the number of geometries taken over."""
    previous = os.environ.get(PREVIOUS_ATTEMPT)
    if not previous or (folder / CHECKPOINT).exists():
        return 0
    source, temporary = Path(previous) / CHECKPOINT, folder / f"{CHECKPOINT}.taken"
    records = _read(source)
    if records:
        shutil.copyfile(source, temporary)
        temporary.replace(folder / CHECKPOINT)
    return len(records)


def _read(path: Path) -> list[dict[str, Any]]:
    """The records, or none where there is no whole file: a checkpoint saves time, it is never needed."""
    try:
        records = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    whole = isinstance(records, list) and all(
        {"cell", "positions", "energy", "forces", "stress"} <= set(r) for r in records
    )
    return records if whole else []


def _is_at(record: dict[str, Any], atoms: Atoms) -> bool:
    cell, positions = np.array(record["cell"]), np.array(record["positions"])
    return (
        positions.shape == atoms.positions.shape
        and bool(np.abs(cell - atoms.cell.array).max() < _SAME)
        and bool(np.abs(positions - atoms.positions).max() < _SAME)
    )
