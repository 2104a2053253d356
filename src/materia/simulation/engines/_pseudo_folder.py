"""Which pseudopotential of the user's folder stands for an element.

The folder is named by ``ESPRESSO_PSEUDO``, the variable that Quantum ESPRESSO itself reads. It holds one UPF file for
each element at the functional wanted, or a table in the format of the SSSP library (``SSSP_1.3.0_PBE_efficiency.json``:
element -> ``filename``, ``md5``, ``cutoff_wfc``, ``cutoff_rho`` in Ry) that says which.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from materia.errors import EngineError
from materia.simulation.engines._upf import Upf, read_upf

FOLDER: Final = "ESPRESSO_PSEUDO"
REMEDY: Final = f"set {FOLDER} to a folder with one UPF pseudopotential per element, such as SSSP or PseudoDojo for PBE"


@dataclass(frozen=True)
class Pseudopotential:
    """The file chosen for an element.

    Attributes:
        path: the file.
        upf: its header.
        cutoff_ry, density_cutoff_ry: suggested by the folder's table, else by the file, Ry; 0: no suggestion.
        by_table: whether the table suggested them.
    """

    path: Path
    upf: Upf
    cutoff_ry: float
    density_cutoff_ry: float
    by_table: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the file (12 hex digits), with what the table adds to it: that decides energies as well."""
        return self.upf.digest[:12] + (f"+rho{self.density_cutoff_ry:g}" if self.by_table else "")


def folder() -> Path:
    """The user's folder.

    Raises:
        EngineError: none is named, or it is not there.
    """
    named = os.environ.get(FOLDER, "")
    if not named:
        raise EngineError("no folder of pseudopotentials is named", where=FOLDER, remedy=REMEDY)
    path = Path(named).expanduser().absolute()
    if not path.is_dir():
        raise EngineError(f"there is no folder {path}", where=FOLDER, remedy=REMEDY)
    return path


def choose(elements: Iterable[str], xc: str) -> dict[str, Pseudopotential]:
    """The pseudopotential of each element, in alphabetical order.

    Raises:
        EngineError: some have none, or not just one; all of them are named.
    """
    where = folder()
    table = _table(where)
    found: dict[str, Pseudopotential] = {}
    lacking: list[str] = []
    for element in sorted(set(elements)):
        try:
            found[element] = _chosen(where, table, element, xc)
        except EngineError as error:
            lacking.append(error.what)
    if lacking:
        raise EngineError("; ".join(lacking), where=where, remedy=f"add them, or leave the elements out; {REMEDY}")
    return found


def holds_any(xc: str) -> bool:
    """Whether the folder has a file for any element at this functional.

    Raises:
        EngineError: there is no folder, or its table cannot be read.
    """
    where = folder()
    if _table(where):
        return True
    return any(_fits(path, xc) for path in _files(where))


def _chosen(where: Path, table: Mapping[str, Any], element: str, xc: str) -> Pseudopotential:
    if table:
        return _from_table(where, table, element, xc)
    own = [path for path in _files(where) if re.match(rf"{element}(?![a-z])", path.stem, re.IGNORECASE)]
    own = [path for path in own if read_upf(path).element == element]
    fitting = [path for path in own if _fits(path, xc)]
    if len(fitting) == 1:
        upf = read_upf(fitting[0])
        return Pseudopotential(fitting[0], upf, upf.cutoff_ry, upf.density_cutoff_ry)
    if fitting:
        names = ", ".join(path.name for path in fitting)
        raise EngineError(f"{element} has {len(fitting)} pseudopotentials for {xc} ({names}): keep one")
    if own:
        kinds = ", ".join(f"{path.name} is for {_kind(read_upf(path))}" for path in own)
        raise EngineError(f"{element} has no pseudopotential for {xc} ({kinds})")
    raise EngineError(f"{element} has no pseudopotential")


def _from_table(where: Path, table: Mapping[str, Any], element: str, xc: str) -> Pseudopotential:
    row = table.get(element)
    if row is None:
        raise EngineError(f"{element} is not in the folder's table")
    path = where / Path(str(row["filename"])).name
    upf = read_upf(path)
    if row.get("md5") not in (None, upf.md5):
        raise EngineError(f"{path.name} is not the file of the folder's table: its MD5 is {upf.md5}, not {row['md5']}")
    if upf.element != element or upf.functional != xc or upf.fully_relativistic:
        raise EngineError(f"{element} has no pseudopotential for {xc} ({path.name} is for {upf.element}, {_kind(upf)})")
    return Pseudopotential(path, upf, float(row.get("cutoff_wfc", 0)), float(row.get("cutoff_rho", 0)), by_table=True)


def _fits(path: Path, xc: str) -> bool:
    try:
        upf = read_upf(path)
    except EngineError:  # a stray file is nothing to stop at before its element is asked for
        return False
    return upf.functional == xc and not upf.fully_relativistic


def _kind(upf: Upf) -> str:
    return upf.functional + (" with spin-orbit coupling" if upf.fully_relativistic else "")


def _files(where: Path) -> list[Path]:
    return sorted(path for path in where.iterdir() if path.suffix.lower() == ".upf")


def _table(where: Path) -> Mapping[str, Any]:
    """The table of the folder, empty if it has none."""
    tables: dict[str, Mapping[str, Any]] = {}
    for path in sorted(where.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EngineError(f"the table {path.name} cannot be read: {error}", where=where) from error
        if isinstance(content, dict) and any(isinstance(v, dict) and "filename" in v for v in content.values()):
            tables[path.name] = {k: v for k, v in content.items() if isinstance(v, dict) and "filename" in v}
    if len(tables) > 1:
        raise EngineError(f"several tables: {', '.join(tables)}", where=where, remedy="keep the one to go by")
    return next(iter(tables.values()), {})
