"""The header of a pseudopotential file in Quantum ESPRESSO's unified format (UPF), versions 1 and 2.

Format: https://pseudopotentials.quantum-espresso.org/home/unified-pseudopotential-format. Version 2 keeps the header as
attributes of ``PP_HEADER``, version 1 as lines between ``<PP_HEADER>`` and ``</PP_HEADER>``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from materia.errors import EngineError

# QE's own names of exchange and correlation, local and gradient parts, and their short forms
_FUNCTIONALS = {
    ("SLA", "PW", "PBX", "PBC"): "PBE",
    ("SLA", "PW", "PBE", "PBE"): "PBE",
    ("SLA", "PW", "PSX", "PSC"): "PBEsol",
    ("SLA", "PZ", "NOGX", "NOGC"): "LDA",
    ("PBE",): "PBE",
    ("PBESOL",): "PBEsol",
    ("PZ",): "LDA",
    ("LDA",): "LDA",
}
_HEADER_2 = re.compile(rb"""<PP_HEADER((?:\s+[\w.]+\s*=\s*(?:"[^"]*"|'[^']*'))+)\s*/?>""")
_ATTRIBUTE = re.compile(rb"""([\w.]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_HEADER_1 = re.compile(rb"<PP_HEADER>(.*?)</PP_HEADER>", re.DOTALL)


@dataclass(frozen=True)
class Upf:
    """What a UPF file says of itself.

    Attributes:
        element: symbol.
        functional: ``PBE``, ``PBEsol``, ``LDA``, or the file's own words where it is none of these.
        valence: electrons it leaves to be computed.
        norm_conserving: else ultrasoft or PAW, whose density needs a higher cutoff.
        fully_relativistic: made for calculations with spin-orbit coupling.
        cutoff_ry, density_cutoff_ry: suggested for wave functions and density, Ry; 0 where the file suggests none.
        digest: SHA-256 of the file, hexadecimal.
        md5: of the file, as the tables of pseudopotential libraries give it.
    """

    element: str
    functional: str
    valence: float
    norm_conserving: bool
    fully_relativistic: bool
    cutoff_ry: float
    density_cutoff_ry: float
    digest: str
    md5: str


def read_upf(path: Path) -> Upf:
    """The header of a file.

    Raises:
        EngineError: it cannot be read, or is no UPF.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise EngineError(f"{path.name} cannot be read: {error.strerror}", where=path) from error
    except (ValueError, KeyError, IndexError) as error:
        raise EngineError(
            f"{path.name} is no pseudopotential in UPF ({type(error).__name__}: {error})",
            where=path,
            remedy="take it out of the folder, or convert it with QE's upfconv.x",
        ) from error


@lru_cache(maxsize=1024)
def _read(path: Path, changed_ns: int, size: int) -> Upf:
    """By time and size: a file that was exchanged is read anew."""
    data = path.read_bytes()
    if header := _HEADER_2.search(data):
        found = _version_2(header[1])
    elif header := _HEADER_1.search(data):
        found = _version_1(header[1].decode("latin-1"), data)
    else:
        raise ValueError("it has no PP_HEADER")
    return Upf(*found, hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest())


_Found = tuple[str, str, float, bool, bool, float, float]


def _version_2(header: bytes) -> _Found:
    values = {name.decode(): (a or b).decode("latin-1").strip() for name, a, b in _ATTRIBUTE.findall(header)}
    return (
        values["element"].capitalize(),
        functional_of(values["functional"]),
        _number(values["z_valence"]),
        values["pseudo_type"].upper() in {"NC", "SL", "1/R"},
        values.get("relativistic") == "full" or values.get("has_so", "F").strip(".").upper().startswith("T"),
        _number(values.get("wfc_cutoff", "0")),
        _number(values.get("rho_cutoff", "0")),
    )


def _version_1(header: str, data: bytes) -> _Found:
    """One value a line, in this order; what follows on the line is a comment."""
    lines = [line.split() for line in header.strip().splitlines()]
    suggested = lines[7]
    return (
        lines[1][0].capitalize(),
        functional_of(" ".join(lines[4][:4])),
        _number(lines[5][0]),
        lines[2][0].upper() == "NC",
        b"Fully-Relativistic" in data[:20000] or b"<PP_ADDINFO>" in data,
        _number(suggested[0]),
        _number(suggested[1]),
    )


def functional_of(words: str) -> str:
    """The usual name of a functional written in QE's words, ``SLA PW PBX PBC`` or ``sla+pw+pbx+pbc``."""
    parts = tuple(re.split(r"[\s+]+", words.strip().upper()))
    return _FUNCTIONALS.get(parts, " ".join(parts))


def _number(text: str) -> float:
    return float(text.upper().replace("D", "E"))
