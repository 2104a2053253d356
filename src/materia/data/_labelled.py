"""Labelled structures in the files people have: one bad row is set aside by name, the rest is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia.crystal import Crystal, read_named, validate
from materia.data import _tables
from materia.data._frames import database_rows, frames
from materia.data._rows import Quarantined, Raw, bare_suffix
from materia.data._store import Dataset
from materia.data._values import Value, is_absent, obey_symmetry, read_value
from materia.errors import DatasetError, MateriaError
from materia.quantities import Form

FORMS = (
    "JSON lines (.jsonl), JSON (a list of records, or a table with index, columns and data), extended XYZ "
    "(.extxyz, .xyz), each also .gz, .bz2 or .xz; an ASE database (.db); a CSV beside its CIFs, or their folder; "
    "a dataset folder of materia"
)
_MANY = (".jsonl", ".ndjson", ".json", ".csv", ".extxyz", ".xyz", ".db")  # forms that hold many structures
_SINGLE = "target"  # what a record calls its one label where it does not name the quantity


@dataclass(frozen=True)
class Row:
    """A structure with what is known about it.

    Attributes:
        place: file and line, frame or row.
        id: as the file names it; empty where it does not.
        crystal: valid (:func:`materia.crystal.validate`).
        values: by name, as asked for; what is not known is absent.
    """

    place: str
    id: str
    crystal: Crystal
    values: Mapping[str, Value]


@dataclass(frozen=True)
class LabelledRows:
    """What a file holds.

    Attributes:
        rows: usable ones, in the order of the file.
        quarantine: rows that cannot be used, with the reason.
        unlabelled: good structures that have none of the values asked for; they are not among the rows.
        symmetrised: tensors among the rows that were off their crystal's symmetry by a little and were set right.
    """

    rows: tuple[Row, ...]
    quarantine: tuple[Quarantined, ...]
    unlabelled: int
    symmetrised: int = 0


def read_labelled(
    path: str | Path, columns: Mapping[str, str], forms: Mapping[str, Form] | None = None
) -> LabelledRows:
    """Structures with labels from a file or folder.

    A label that is absent (no such column, ``null``, an empty cell) is not known. One that is there and is not a
    finite number, or not of its form, puts its row into quarantine, as does a structure that cannot be read, holds
    what is no element or has overlapping atoms. A tensor is checked against the symmetry of its crystal.

    Args:
        path: see :data:`FORMS`.
        columns: by the name the value is to have, the name it has in the file. A record with a single
            ``target`` stands for the only column asked for. With none asked for, every good structure is a row.
        forms: by the name the value is to have, what it is; a scalar unless given.

    Raises:
        DatasetError: nothing is there, it is of no known form, or it is no whole of that form.
    """
    rows: list[Row] = []
    quarantine: list[Quarantined] = []
    unlabelled = symmetrised = 0
    for raw in _raw(Path(path), tuple(columns.values())):
        if isinstance(raw, Quarantined):
            quarantine.append(raw)
            continue
        try:
            values = _values(raw.values, columns, forms or {})
            crystal = validate(raw.build())
            checked = {name: obey_symmetry(value, crystal, columns[name]) for name, value in values.items()}
        except MateriaError as error:
            quarantine.append(Quarantined(raw.place, error.what, raw.id))
        except Exception as error:  # readers of structures raise whatever their parsers do
            reason = f"cannot be read as a structure: {type(error).__name__}: {error}"
            quarantine.append(Quarantined(raw.place, reason, raw.id))
        else:
            if columns and not values:
                unlabelled += 1
            else:
                rows.append(Row(raw.place, raw.id, crystal, {name: value for name, (value, _) in checked.items()}))
                symmetrised += sum(changed for _, changed in checked.values())
    return LabelledRows(tuple(rows), tuple(quarantine), unlabelled, symmetrised)


def read_unlabelled(path: str | Path) -> LabelledRows:
    """The structures in a file, whatever else it says: the forms of :data:`FORMS`, CIF, POSCAR and the like.

    A file that cannot be read at all is itself quarantined.
    """
    path = Path(path)
    try:
        if path.is_dir() or bare_suffix(path) in _MANY:
            return read_labelled(path, {})
        found = read_named(path)
    except MateriaError as error:
        return LabelledRows((), (Quarantined(path.name, error.what),), 0)
    places = [f"{path.name}:{k}" for k in range(1, len(found) + 1)] if len(found) > 1 else [path.name]
    rows = (Row(place, named.id, named.crystal, {}) for place, named in zip(places, found, strict=True))
    return LabelledRows(tuple(rows), (), 0)


def source_digest(path: str | Path) -> str:
    """SHA-256 over the content of a file, or over names and contents of all files in a folder.

    Raises:
        DatasetError: it cannot be read.
    """
    path, digest = Path(path), hashlib.sha256()
    try:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror or error}", where=path) from error
    return digest.hexdigest()


def _raw(path: Path, columns: tuple[str, ...]) -> Iterator[Raw | Quarantined]:
    if not path.exists():
        raise DatasetError("no such file or folder", where=path, remedy="check the path")
    if path.is_dir():
        return _folder(path, columns)
    match bare_suffix(path):
        case ".jsonl" | ".ndjson":
            return _tables.json_lines(path)
        case ".json":
            return _tables.json_document(path)
        case ".csv":
            return _tables.csv_rows(path, columns)
        case ".extxyz" | ".xyz":
            return frames(path)
        case ".db":
            return database_rows(path)
    raise DatasetError(f"labelled structures are not read from {path.name!r}", where=path, remedy=f"use {FORMS}")


def _folder(path: Path, columns: tuple[str, ...]) -> Iterator[Raw | Quarantined]:
    if Dataset.lies_in(path):
        return _dataset(path, columns)
    tables = sorted(path.glob("*.csv"))
    if len(tables) != 1:
        raise DatasetError(
            f"the folder holds {len(tables)} CSV files, one is needed",
            where=path,
            remedy="name the table itself, or put one CSV beside the CIFs",
        )
    return _tables.csv_rows(tables[0], columns)


def _dataset(path: Path, columns: tuple[str, ...]) -> Iterator[Raw]:
    """The computed entries of a dataset of materia, before relaxation as a pool would show them.

    Raises:
        DatasetError: values asked for are of several levels of theory, which are never pooled.
    """
    found = Dataset.load(path).computed
    for column in columns:
        levels = sorted({label.level for entry in found for label in entry.labels if label.quantity == column})
        if len(levels) > 1:
            raise DatasetError(
                f"{column} is there at {len(levels)} levels of theory: {', '.join(levels)}",
                where=path,
                remedy="values of different levels are not pooled: make a dataset of the calculations of one level",
            )
    for entry in found:
        yield Raw(f"{path.name}/{entry.id}", entry.id, lambda entry=entry: entry.initial, entry.values())  # type: ignore[misc]


def _values(found: Mapping[str, Any], columns: Mapping[str, str], forms: Mapping[str, Form]) -> dict[str, Value]:
    if len(columns) == 1 and _SINGLE in found:
        (column,) = columns.values()
        found = {column: found[_SINGLE], **found}
    given = {name: found.get(column) for name, column in columns.items()}
    return {
        name: read_value(value, forms.get(name, Form.SCALAR), columns[name])
        for name, value in given.items()
        if not is_absent(value)
    }
