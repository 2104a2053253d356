"""Folders of calculations: each file is told by its content; what cannot be used is set aside with the reason."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from materia.data._rows import Quarantined, bare_suffix, open_text
from materia.data.calculations._calculation import Calculation
from materia.data.calculations._documents import is_summary, read_summary, read_task, task_in
from materia.data.calculations._espresso import MARK, read_xml
from materia.data.calculations._gpaw import BANNER, read_log
from materia.data.calculations._vasp import read_vasprun
from materia.errors import DatasetError, MateriaError

FORMS: Final = (
    "vasprun.xml of VASP, the XML of Quantum ESPRESSO's pw.x, text logs of GPAW, task documents of atomate2 and emmet "
    "(JSON), summaries of the Materials Project (JSON)"
)
_HEAD: Final = 2000  # characters that tell what a file is
_TEXTS: Final = (".txt", ".log", ".out", "")


def read_calculations(path: str | Path) -> Iterator[Calculation | Quarantined]:
    """Every calculation in a file or below a folder, in the order of their paths; files of other kinds are passed by.

    Raises:
        DatasetError: nothing is there.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError("no such file or folder", where=path, remedy="check the path")
    if path.is_file():
        yield from _file(path, path.name)
        return
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        for name in sorted(names):
            file = Path(folder) / name
            yield from _file(file, file.relative_to(path).as_posix())
        if "INCAR" in names and not any(name.startswith("vasprun") for name in names):
            place = Path(folder).relative_to(path).as_posix()
            yield Quarantined(place, "unfinished: a folder of VASP (INCAR) without vasprun.xml")


def _file(path: Path, place: str) -> Iterator[Calculation | Quarantined]:
    try:
        yield from _records(path, place)
    except MateriaError as error:
        yield Quarantined(place, error.what)
    except Exception as error:  # parsers raise whatever a damaged file makes them
        yield Quarantined(place, f"cannot be read: {type(error).__name__}: {error}")


def _records(path: Path, place: str) -> Iterator[Calculation | Quarantined]:
    suffix = bare_suffix(path)
    if suffix not in (".xml", ".json", *_TEXTS) and not path.name.startswith("vasprun"):
        return
    with open_text(path) as stream:
        head = stream.read(_HEAD)
    if suffix == ".json":
        yield from _documents(path, place)
    elif "<modeling>" in head:
        yield read_vasprun(path, place)
    elif MARK in head:
        yield read_xml(path, place)
    elif suffix != ".xml" and BANNER in head:
        yield read_log(path, place)
    elif path.name.startswith("vasprun"):
        yield Quarantined(place, "unfinished: no content of a vasprun.xml")


def _documents(path: Path, place: str) -> Iterator[Calculation | Quarantined]:
    with open_text(path) as stream:
        content = json.load(stream)
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        content = content["data"]
    for number, record in enumerate(content if isinstance(content, list) else [content], 1):
        where = f"{place}:{number}" if isinstance(content, list) else place
        if not isinstance(record, Mapping):
            continue
        try:
            task = task_in(record)
            if task is not None:
                yield read_task(task, where)
            elif is_summary(record):
                yield read_summary(record, where)
        except MateriaError as error:
            yield Quarantined(where, error.what)
        except Exception as error:  # what a damaged document makes pymatgen raise
            yield Quarantined(where, f"cannot be read: {type(error).__name__}: {error}")
