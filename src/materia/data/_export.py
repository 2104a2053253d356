"""Datasets in the formats others read: an ASE database and extended XYZ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from materia.data._entry import Entry
from materia.errors import DatasetError


def export(entries: Sequence[Entry], path: str | Path) -> int:
    """Write the computed entries; the suffix names the format (``.db``, ``.extxyz``, ``.xyz``).

    An existing file is replaced as a whole. Every quantity becomes a key (ASE database) or an ``info`` field
    (extxyz); fidelity and level are written beside them.

    Returns:
        How many structures were written.

    Raises:
        DatasetError: the suffix is none of these, or nothing was computed.
    """
    path = Path(path)
    computed = [entry for entry in entries if entry.status == "computed"]
    if not computed:
        raise DatasetError("there is no computed entry to export")
    writers = {".db": _write_ase, ".xyz": _write_extxyz, ".extxyz": _write_extxyz}
    if path.suffix not in writers:
        raise DatasetError(
            f"cannot export to {path.suffix or path.name!r}",
            where=path,
            remedy=f"use one of: {', '.join(writers)}",
        )
    temporary = path.with_name(path.name + ".tmp" + path.suffix)
    temporary.unlink(missing_ok=True)
    writers[path.suffix](computed, temporary)
    temporary.replace(path)
    return len(computed)


def _fields(entry: Entry) -> dict[str, str | float]:
    first = entry.labels[0]
    return {
        "materia_id": entry.id,
        "prototype": entry.prototype,
        "fidelity": first.fidelity,
        "level": first.level,
        **entry.values(),
    }


def _write_ase(entries: Sequence[Entry], path: Path) -> None:
    from ase.db import connect

    with connect(path, type="db") as database:
        for entry in entries:
            data = {"initial": entry.initial.to_record(), "jobs": [job.key for job in entry.jobs]}
            database.write(entry.structure.to_ase(), key_value_pairs=_fields(entry), data=data)


def _write_extxyz(entries: Sequence[Entry], path: Path) -> None:
    from ase.io import write

    frames = []
    for entry in entries:
        atoms = entry.structure.to_ase()
        atoms.info.update(_fields(entry))
        frames.append(atoms)
    write(path, frames, format="extxyz")
