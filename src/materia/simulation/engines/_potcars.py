"""Which of the user's POTCARs stands for an element: those of the Materials Project's sets, found as by pymatgen.

The folder is named by ``PMG_VASP_PSP_DIR``, in the environment or in pymatgen's own settings (``.pmgrc.yaml``), and
laid out as ``pmg config -p`` leaves it: ``POT_GGA_PAW_PBE/POTCAR.Ga_d.gz`` or ``POT_GGA_PAW_PBE/Ga_d/POTCAR``.
``PMG_DEFAULT_FUNCTIONAL`` names the release (``PBE``, ``PBE_54``, ...). POTCARs are licensed by VASP's authors: materia
brings none, and leaves none in the folders of jobs.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from materia.errors import EngineError

FOLDER: Final = "PMG_VASP_PSP_DIR"
RELEASE: Final = "PMG_DEFAULT_FUNCTIONAL"
REMEDY: Final = f"set {FOLDER} to your folder of POTCARs, laid out as by pymatgen's `pmg config -p`"


@dataclass(frozen=True)
class Potcar:
    """The POTCAR of an element.

    Attributes:
        symbol: name of the dataset, such as ``Ga_d``.
        title: its TITEL, as VASP repeats it in ``vasprun.xml``.
        valence: electrons.
        text: the file.
    """

    symbol: str
    title: str
    valence: float
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file (12 hex digits)."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]


def folder() -> Path:
    """The user's folder of POTCARs of one release.

    Raises:
        EngineError: none is named, it is not there, or the release is not one of PBE.
    """
    named, release = _setting(FOLDER), _setting(RELEASE) or "PBE"
    if not named:
        raise EngineError("no folder of POTCARs is named", where=FOLDER, remedy=REMEDY)
    if not re.fullmatch(r"PBE(_5\d\w*|_6\d\w*)?", release):
        raise EngineError(f"{release!r} is no release of PBE POTCARs", where=RELEASE, remedy="name one, such as PBE_54")
    from pymatgen.io.vasp.inputs import PotcarSingle

    path = Path(named).expanduser() / str(PotcarSingle.functional_dir.get(release, release))
    if not path.is_dir():
        raise EngineError(f"there is no folder {path}", where=FOLDER, remedy=REMEDY)
    return path


def choose(elements: Iterable[str]) -> dict[str, Potcar]:
    """The POTCAR of each element, in alphabetical order.

    Raises:
        EngineError: there is none for one of them, or it is not one of PBE.
    """
    place, chosen, missing = folder(), {}, []
    for element in sorted(set(elements)):
        symbol = _symbols(place.name).get(element)
        path = next((one for one in _paths(place, symbol) if one.is_file()), None) if symbol else None
        if path is None:
            missing.append(f"{element} ({symbol})" if symbol else element)
            continue
        chosen[element] = _read(path, str(symbol))
    if missing:
        raise EngineError(
            f"there is no POTCAR for {', '.join(missing)}",
            where=place,
            remedy="add the dataset, or leave the element out of the space",
        )
    return chosen


def _setting(name: str) -> str:
    from pymatgen.core import SETTINGS

    return os.environ.get(name) or str(SETTINGS.get(name) or "")


@cache
def _symbols(release_folder: str) -> dict[str, str]:
    """Element -> dataset of the Materials Project's sets; tungsten's was renamed after the first release."""
    from pymatgen.io.vasp.sets import MPStaticSet

    config: dict[str, Any] = MPStaticSet.CONFIG["POTCAR"]
    found = {element: str(symbol) for element, symbol in config.items()}
    return found if release_folder == "POT_GGA_PAW_PBE" else {**found, "W": "W_sv"}


def _paths(place: Path, symbol: str) -> list[Path]:
    plain = [place / f"POTCAR.{symbol}", place / symbol / "POTCAR"]
    return [path.with_name(path.name + ending) for path in plain for ending in ("", ".gz")]


@cache
def _read(path: Path, symbol: str) -> Potcar:
    """Asked for every candidate of a pool."""
    import gzip

    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", errors="replace")
    title = re.search(r"TITEL\s*=\s*(.+)", text)
    valence = re.search(r"ZVAL\s*=\s*([\d.]+)", text)
    if title is None or valence is None:
        raise EngineError("the POTCAR names no TITEL or no ZVAL", where=path, remedy="replace it with a whole file")
    if title[1].split()[0] != "PAW_PBE":
        raise EngineError(f"the POTCAR is not one of PBE (TITEL {title[1].strip()!r})", where=path, remedy=REMEDY)
    return Potcar(symbol, title[1].strip(), float(valence[1]), text if text.endswith("\n") else text + "\n")
