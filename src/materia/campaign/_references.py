"""Which elemental references a campaign counts formation energies from: those that ship, or a file of its own level."""

from __future__ import annotations

from pathlib import Path

from materia.campaign._rungs import LadderSettings
from materia.errors import ConfigError, MateriaError
from materia.simulation import Level, level_hash
from materia.stability import References

FILE = "references.json"  # in a campaign folder: as they were when it was started


def references_for(level: Level) -> References | None:
    """The shipped references if they are at this level, else ``None`` (no formation energies then)."""
    try:
        references = References.default()
    except MateriaError:
        return None
    return references if references.level_hash == level_hash(level) else None


def references_of(ladder: LadderSettings) -> References | None:
    """Those that the campaign file names, else as :func:`references_for`.

    Raises:
        ConfigError: the file is not there, or was computed at another level.
        DatasetError: it is damaged.
    """
    own, file = ladder.own, ladder.references
    if file is None:
        return references_for(own)
    if not file.is_file():
        raise ConfigError(
            f"there are no elemental references in {file}",
            where="ladder.references",
            remedy="compute them with `materia references CAMPAIGN-FILE`, or leave it out: no formation energies then",
        )
    return read_references(file, own)


def read_references(file: Path, level: Level) -> References:
    """Those in a file, which have to be at this level.

    Raises:
        ConfigError: they are at another one.
        DatasetError: the file is not there, or damaged.
    """
    found = References.load(file)
    if found.level_hash != level_hash(level):
        raise ConfigError(
            f"{file} holds references at level {found.level!r} ({found.level_hash}), and the ladder computes at "
            f"{level.name!r} ({level_hash(level)})",
            where="ladder.references",
            remedy="name a file for each level",
        )
    return found


def references_in(folder: Path, level: Level) -> References | None:
    """Those that a campaign was started with."""
    kept = folder / FILE
    return References.load(kept) if kept.is_file() else references_for(level)
