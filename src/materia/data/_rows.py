"""A row of a file before anything is believed of it, and files that may be compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from materia.crystal import Crystal

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Raw:
    """A row as it stands in the file.

    Attributes:
        place: file and line, frame or row.
        id: as the file names it.
        build: makes the structure; raises whatever its parser does.
        values: everything else, by the file's own names.
    """

    place: str
    id: str
    build: Callable[[], Crystal]
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quarantined:
    """A row that cannot be used: where it is, why, and what the file names it."""

    place: str
    reason: str
    id: str = ""


def bare_suffix(path: Path) -> str:
    """The suffix that names the form, the compression's apart, in lower case."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def open_text(path: Path) -> TextIO:
    """A text file, decompressed; bytes that are not UTF-8 become replacement characters."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    return cast(TextIO, opener(path, "rt", encoding="utf-8", errors="replace"))
