"""Reading and writing structures: CIF, POSCAR, extxyz, pymatgen and materia JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia.crystal._crystal import Crystal
from materia.crystal._validity import validate
from materia.errors import MateriaError, StructureError


@dataclass(frozen=True)
class NamedCrystal:
    """A structure from a file, with what the file calls it.

    Attributes:
        crystal: the structure.
        id, prototype: as the record names them (materia JSON); empty where the file says nothing.
    """

    crystal: Crystal
    id: str = ""
    prototype: str = ""


def read_structures(path: str | Path) -> list[Crystal]:
    """All structures in a file, validated; see :func:`read_named`."""
    return [named.crystal for named in read_named(path)]


def read_named(path: str | Path) -> list[NamedCrystal]:
    """All structures in a file with their names, validated.

    ``.json`` and ``.jsonl`` hold materia records or pymatgen dictionaries; everything else
    (CIF, POSCAR, extxyz, ...) is read by ASE.

    Raises:
        StructureError: the file is missing, cannot be read, or holds an unphysical structure.
    """
    path = Path(path)
    if not path.is_file():
        raise StructureError("no such structure file", where=path, remedy="check the path")
    try:
        found = _read_json(path) if path.suffix in {".json", ".jsonl"} else _read_ase(path)
    except MateriaError as error:
        raise type(error)(error.what, where=error.where or path, remedy=error.remedy) from error
    except Exception as error:  # ASE's and JSON's readers raise whatever their parsers do
        raise StructureError(
            f"cannot be read as a structure: {type(error).__name__}: {error}",
            where=path,
            remedy="materia reads CIF, POSCAR, extxyz and pymatgen JSON",
        ) from error
    if not found:
        raise StructureError("holds no structure", where=path)
    for named in found:
        validate(named.crystal, where=str(path))
    return found


def _read_ase(path: Path) -> list[NamedCrystal]:
    from ase.io import read

    atoms = read(path, index=":")
    return [NamedCrystal(Crystal.from_ase(a)) for a in (atoms if isinstance(atoms, list) else [atoms])]


def _read_json(path: Path) -> list[NamedCrystal]:
    text = path.read_text()
    rows = [json.loads(t) for t in text.splitlines() if t.strip()] if path.suffix == ".jsonl" else json.loads(text)
    return [_from_json(row) for row in (rows if isinstance(rows, list) else [rows])]


def _from_json(row: dict[str, Any]) -> NamedCrystal:
    structure = row.get("structure", row)
    if structure.get("@class") == "Structure":
        from pymatgen.core import Structure

        crystal = Crystal.from_pymatgen(Structure.from_dict(structure))
    else:
        crystal = Crystal.from_record(structure)
    return NamedCrystal(crystal, str(row.get("id", "")), str(row.get("prototype", "")))


def write_structure(crystal: Crystal, path: str | Path) -> None:
    """Write one structure; the suffix names the format (``.cif``, ``.xyz``, ``.json``, ``POSCAR``)."""
    path = Path(path)
    if path.suffix == ".json":
        path.write_text(json.dumps(crystal.to_record()) + "\n")
        return
    from ase.io import write

    write(path, crystal.to_ase(), format="extxyz" if path.suffix in {".xyz", ".extxyz"} else None)
