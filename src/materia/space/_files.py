"""Candidates from the user's own structure files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from materia.crystal import read_named
from materia.errors import MateriaError, SpaceError
from materia.record import Candidate

_SUFFIXES = {".cif", ".vasp", ".poscar", ".xyz", ".extxyz", ".json", ".jsonl"}


def read_candidates(files: Sequence[Path]) -> tuple[list[Candidate], list[dict[str, str]]]:
    """Candidates from files, folders and patterns, and what was quarantined: ``{"name", "reason"}``.

    Raises:
        StructureError: a file that is named itself is missing, unreadable or holds an unphysical structure.
        SpaceError: a folder or pattern that holds no structure file.
    """
    candidates: list[Candidate] = []
    quarantine: list[dict[str, str]] = []
    for entry in files:
        swept = _sweep(entry)
        for path in swept if swept is not None else [entry]:
            try:
                candidates += _candidates(path)
            except MateriaError as error:
                if swept is None:
                    raise
                quarantine.append({"name": str(path), "reason": error.what})
    return _with_unique_ids(candidates), quarantine


def structure_files(sources: Sequence[Path]) -> list[Path]:
    """The files that are named, lie in folders or match patterns, in order.

    Raises:
        SpaceError: a folder or pattern that holds no structure file.
    """
    return [path for entry in sources for path in _sweep(entry) or [entry]]


def _sweep(entry: Path) -> list[Path] | None:
    """The structure files in a folder or matched by a pattern; ``None`` for a plain file name."""
    if entry.is_dir():
        found = [p for p in sorted(entry.iterdir()) if p.suffix.lower() in _SUFFIXES or p.name.startswith("POSCAR")]
    elif any(c in entry.name for c in "*?["):
        found = sorted(entry.parent.glob(entry.name))
    else:
        return None
    if not found:
        raise SpaceError(f"no structure file is there: {entry}", where="space.files", remedy="check the path")
    return found


def _candidates(path: Path) -> list[Candidate]:
    """Ids and prototypes are the record's own where it names them, otherwise made from formula and file name."""
    found = read_named(path)
    numbered = len(found) > 1
    return [
        Candidate(
            id=named.id or f"{named.crystal.formula}-{path.stem}" + (f"-{k}" if numbered else ""),
            crystal=named.crystal,
            prototype=named.prototype or path.stem,
            origin={"file": path.name, "index": k},
        )
        for k, named in enumerate(found)
    ]


def _with_unique_ids(candidates: list[Candidate]) -> list[Candidate]:
    seen: dict[str, int] = {}
    unique = []
    for c in candidates:
        seen[c.id] = seen.get(c.id, 0) + 1
        name = c.id if seen[c.id] == 1 else f"{c.id}-file{seen[c.id]}"
        unique.append(Candidate(name, c.crystal, c.prototype, c.origin, c.features))
    return unique
