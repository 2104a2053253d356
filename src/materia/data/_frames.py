"""Labelled structures in ASE's formats: extended XYZ, frame by frame, and databases, row by row."""

from __future__ import annotations

import lzma
import sqlite3
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from materia.crystal import Crystal
from materia.data._rows import Quarantined, Raw, open_text
from materia.errors import DatasetError

if TYPE_CHECKING:
    from ase import Atoms


def frames(path: Path) -> Iterator[Raw | Quarantined]:
    """The frames of an extended XYZ file. After a damaged one, reading goes on at the next that can be found."""
    try:
        with open_text(path) as stream:
            lines = stream.read().splitlines()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DatasetError(f"cannot be read: {error}", where=path) from error
    start = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        place = f"{path.name}:{start + 1}"
        count = _count(lines[start])
        if count is None:
            yield Quarantined(place, f"a frame begins with its number of atoms, not with {lines[start][:40]!r}")
            start = _next_frame(lines, start + 1)
            continue
        end = _next_frame(lines, start + 1)
        expected = start + count + 2
        if end < expected:  # another frame begins, or the file ends, before this one is whole
            yield Quarantined(place, f"the frame has {end - start - 2} of its {count} atoms")
            start = end
            continue
        yield _frame("\n".join(lines[start:expected]) + "\n", place)
        start = expected


def _count(line: str) -> int | None:
    text = line.strip()
    return int(text) if text.isdecimal() else None


def _next_frame(lines: list[str], start: int) -> int:
    """Where the next frame begins: a number, then a comment line with a lattice."""
    for i in range(start, len(lines) - 1):
        if _count(lines[i]) is not None and "lattice=" in lines[i + 1].lower():
            return i
    return len(lines)


def _frame(text: str, place: str) -> Raw | Quarantined:
    from ase.io import read

    try:
        atoms = read(StringIO(text), format="extxyz")
    except Exception as error:  # ASE's reader raises whatever its parser does
        return Quarantined(place, f"cannot be read as a structure: {type(error).__name__}: {error}")
    values = {**atoms.info, **_results(atoms)}
    name = next((str(atoms.info[key]) for key in ("id", "material_id", "name") if key in atoms.info), "")
    return Raw(place, name, lambda: Crystal.from_ase(atoms), values)


def database_rows(path: Path) -> Iterator[Raw | Quarantined]:
    """The rows of an ASE database: key-value pairs, ``data``, and results such as ``energy``.

    Raises:
        DatasetError: it is no such database.
    """
    from ase.db import connect

    try:
        ids = [row[0] for row in _ask(path, "SELECT id FROM systems ORDER BY id")]
    except sqlite3.Error as error:
        raise DatasetError(f"is no ASE database: {error}", where=path) from error
    database = connect(path)
    for number in ids:
        place = f"{path.name}:{number}"
        try:
            row = database.get(id=number)
            pairs: dict[str, Any] = {**row.data, **row.key_value_pairs}
            if row.get("energy") is not None:
                pairs.setdefault("energy", row.energy)
            atoms = row.toatoms()
        except Exception as error:  # ASE's reader raises whatever the damaged row makes it
            yield Quarantined(place, f"the row cannot be read: {type(error).__name__}: {error}")
            continue
        yield Raw(place, str(pairs.get("name", number)), lambda atoms=atoms: Crystal.from_ase(atoms), pairs)  # type: ignore[misc]


def _ask(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def _results(atoms: Atoms) -> dict[str, Any]:
    return dict(getattr(atoms.calc, "results", {}) or {})
