"""Labelled structures in JSON and CSV."""

from __future__ import annotations

import csv
import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from materia.crystal import Crystal, read_structures
from materia.data._rows import Quarantined, Raw, open_text
from materia.errors import DatasetError, StructureError

_STRUCTURES = ("structure", "cif", "crystal")  # columns, and keys of a record, that hold one
_IDS = ("id", "material_id", "name", "file", "filename", "cif_file")
_BROKEN = (OSError, EOFError, lzma.LZMAError)  # what decompression raises at a damaged place


def json_lines(path: Path) -> Iterator[Raw | Quarantined]:
    """One record a line; a line that is no JSON is set aside, and where the compressed data are cut off the rest."""
    number = 0
    with open_text(path) as stream:
        lines = iter(stream)
        while True:
            number += 1
            place = f"{path.name}:{number}"
            try:
                line = next(lines)
            except StopIteration:
                return
            except _BROKEN as error:
                yield Quarantined(place, f"the file is damaged from here on: {error}")
                return
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                yield Quarantined(place, f"not JSON: {error}")
                continue
            yield _record(record, place)


def json_document(path: Path) -> Iterator[Raw | Quarantined]:
    """A list of records, records by id, one record, or a table with ``index``, ``columns`` and ``data`` (Matbench).

    Raises:
        DatasetError: it is no JSON, or none of these.
    """
    try:
        with open_text(path) as stream:
            content = json.load(stream)
    except (ValueError, *_BROKEN) as error:
        raise DatasetError(f"is no whole JSON: {error}", where=path) from error
    if isinstance(content, dict) and {"columns", "data"} <= content.keys():
        yield from _split(content, path)
    elif isinstance(content, dict) and (any(key in content for key in _STRUCTURES) or "lattice" in content):
        yield _record(content, path.name)
    elif isinstance(content, dict) and content and all(isinstance(row, dict) for row in content.values()):
        for name, row in content.items():
            yield _record({"id": name, **row}, f"{path.name}:{name}")
    elif isinstance(content, list):
        for number, row in enumerate(content, 1):
            yield _record(row, f"{path.name}:{number}")
    else:
        raise DatasetError(
            "holds neither records nor a table",
            where=path,
            remedy="write a list of {structure, target}, or a table with index, columns and data",
        )


def _record(record: Any, place: str) -> Raw | Quarantined:
    if not isinstance(record, dict):
        return Quarantined(place, f"is {type(record).__name__}, not a record")
    key = next((name for name in _STRUCTURES if name in record), None)
    structure = record if key is None else record[key]
    targets = record.get("targets")
    values = {**record, **(targets if isinstance(targets, dict) else {})}
    name = next((str(record[k]) for k in _IDS if record.get(k) is not None), "")
    return Raw(place, name, lambda: structure_of(structure), values)


def _split(content: Mapping[str, Any], path: Path) -> Iterator[Raw | Quarantined]:
    columns: list[str] = [str(c) for c in content["columns"]]
    rows = content["data"]
    index = content.get("index") or list(range(len(rows)))
    key = next((name for name in _STRUCTURES if name in columns), None)
    if key is None:
        raise DatasetError(
            f"the table has no column of structures, but: {', '.join(columns)}",
            where=path,
            remedy=f"name it one of: {', '.join(_STRUCTURES)}",
        )
    if len(index) != len(rows):
        raise DatasetError(f"the table has {len(rows)} rows and an index of {len(index)}", where=path)
    for name, cells in zip(index, rows, strict=True):
        place = f"{path.name}:{name}"
        if not isinstance(cells, list) or len(cells) != len(columns):
            yield Quarantined(place, f"the row has not {len(columns)} cells", str(name))
            continue
        values = dict(zip(columns, cells, strict=True))
        yield Raw(place, str(name), lambda cell=values[key]: structure_of(cell), values)  # type: ignore[misc]


def structure_of(value: Any) -> Crystal:
    """A structure as JSON holds it: a record of materia, a dictionary of pymatgen, or the text of a CIF.

    Raises:
        StructureError: it is none of these; others as the parsers raise.
    """
    if isinstance(value, dict) and value.get("@class") == "Structure":
        from pymatgen.core import Structure

        return Crystal.from_pymatgen(Structure.from_dict(value))
    if isinstance(value, dict):
        return Crystal.from_record(value)
    if isinstance(value, str) and "_cell_length_a" in value:
        from ase.io import read

        return Crystal.from_ase(read(StringIO(value), format="cif"))
    raise StructureError(f"holds no structure, but {str(value)[:60]!r}")


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Raw | Quarantined]:
    """A table whose rows name CIFs beside it, or hold them as text.

    The structure is the column ``cif`` or ``structure``, else what the column ``id``, ``file`` or ``name`` (or
    the first one) names, with or without ``.cif``. A table without a header (CGCNN's ``id_prop.csv``) holds ids
    and then the values in the order they are asked for.

    Raises:
        DatasetError: the table is empty or cannot be read, or its columns are not those asked for.
    """
    try:
        with open_text(path) as stream:
            table = [(number, row) for number, row in enumerate(csv.reader(stream), 1) if any(row)]
    except (csv.Error, *_BROKEN) as error:
        raise DatasetError(f"is no table: {error}", where=path) from error
    if not table:
        raise DatasetError("the table is empty", where=path)
    header = [cell.strip().lstrip("\ufeff") for cell in table[0][1]]
    if len(header) > 1 and _is_number(header[1]) and not set(columns) & set(header):
        header = ["id", *columns]
    else:
        table = table[1:]
    missing = [name for name in columns if name not in header]
    if columns and len(missing) == len(columns):
        raise DatasetError(
            f"the table has no column {missing[0]!r}",
            where=path,
            remedy=f"its columns are: {', '.join(header)}; write --target NAME=COLUMN",
        )
    for number, row in table:
        place = f"{path.name}:{number}"
        if len(row) != len(header):
            yield Quarantined(place, f"has {len(row)} cells, the header has {len(header)}")
            continue
        values = dict(zip(header, (cell.strip() for cell in row), strict=True))
        name = next((values[key] for key in _IDS if values.get(key)), row[0].strip())
        text = next((values[key] for key in _STRUCTURES if "_cell_length_a" in values.get(key, "")), "")
        named = next((values[key] for key in _STRUCTURES if values.get(key)), name)
        yield Raw(place, name, lambda t=text, n=named: structure_of(t) if t else _beside(path, n), values)  # type: ignore[misc]


def _beside(table: Path, name: str) -> Crystal:
    """The one structure in the file that a table's row names."""
    found = next((p for p in (table.parent / name, table.parent / f"{name}.cif") if p.is_file()), None)
    if found is None:
        raise StructureError(f"neither {name} nor {name}.cif is beside the table")
    structures = read_structures(found)
    if len(structures) != 1:
        raise StructureError(f"{found.name} holds {len(structures)} structures, the row is about one")
    return structures[0]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
