"""GPAW: its text log, as version 26 writes it. The one form that names the PAW datasets by their digest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, validate
from materia.data._rows import open_text
from materia.data.calculations._calculation import Calculation, UnusableError, check_functional, file_digest

BANNER: Final = "|__||  | ||/\\|"
_EV_PER_A3_IN_GPA = 160.21766208
_TOLD_OR_OF_NO_CONSEQUENCE = (
    *("mode", "kpts", "occupations", "spinpol", "xc", "txt"),
    *("parallel", "mixer", "maxiter", "symmetry", "eigensolver", "verbose"),
)
_GEOMETRY = re.compile(r"^Atoms  #", re.MULTILINE)
_NUMBER = r"(-?\d+\.\d+)"
_ATOM = re.compile(rf"^\|\s*\d+ \|\s*([A-Z][a-z]?) \|\s*{_NUMBER} \|\s*{_NUMBER} \|\s*{_NUMBER} \|", re.MULTILINE)
_VECTOR = re.compile(rf"^\|\s*(yes|no) \|\s*{_NUMBER} \|\s*{_NUMBER} \|\s*{_NUMBER} \|", re.MULTILINE)
_TRIPLE = re.compile(rf"^\|\s*{_NUMBER} \|\s*{_NUMBER} \|\s*{_NUMBER} \|", re.MULTILINE)
_SETUP = re.compile(r"^  ([A-Z][a-z]?):\n(?:    .*\n)*?    id: +([0-9a-f]{32})", re.MULTILINE)
_EDGES = {"Gap": re.compile(r"^Gap: +(\d+\.\d+) eV", re.MULTILINE), "No gap": re.compile(r"^No gap", re.MULTILINE)}


def read_log(path: Path, place: str) -> Calculation:
    """The last geometry of a plane-wave log; the first one is where it started.

    Raises:
        UnusableError: it did not converge, is not in plane waves, or has a functional no label is made of.
    """
    with open_text(path) as stream:
        head, *parts = _GEOMETRY.split(stream.read())
    if not parts:
        raise UnusableError("unfinished: the log ends before the first geometry, or computes bands only")
    if "\nConverged in " not in parts[-1] or "\n  Extrapolated:" not in parts[-1]:
        raise UnusableError("not converged: the log's last geometry has no converged energy")
    last = parts[-1]
    cutoff, width = _find(r"^Cutoff: +(\d+\.?\d*) eV", last), _find(r"^    width: +(\d+\.?\d*)  # eV", last)
    if cutoff is None:
        raise UnusableError("not in plane waves: no cutoff in the log")
    if float(_find(r"^  Charge: +(-?\d+\.?\d*)", last) or 0):
        raise UnusableError("the cell is charged")
    named = _find(r"^  xc=.*?'([^']+)'", head) or "LDA"  # GPAW's default
    functional = check_functional(named + (" + U" if "\n    Hubbard:" in last else ""))
    grid = re.search(r"Monkhorst-Pack size: \[(\d+), (\d+), (\d+)\]", last)
    initial, structure = _crystal(parts[0]), _crystal(last)
    if initial.composition != structure.composition:
        raise UnusableError("the log holds calculations of several materials")
    settings: dict[str, Any] = {
        "cutoff_ev": float(cutoff),
        "kpoints": [int(n) for n in grid.groups()] if grid else [1, 1, 1],
        "gamma": bool(re.search(r"kpts=.*gamma=True", head)) or grid is None,
        "smearing": (_find(r"^occupation numbers:\n  ([\w-]+):", last) or "none").lower(),
        "smearing_ev": float(width or 0.0),
        "spin": "closed shell" if "\nSpin-components: 1 (collinear" in last else "polarized",
        "pseudopotentials": dict(_SETUP.findall(last)),
        "parameters": _parameters(head),
    }
    n = structure.n_atoms
    numbers = {"energy": float(_find(r"^  Extrapolated: +(-?\d+\.\d+)", last) or "nan") / n}
    gap = _EDGES["Gap"].search(last)
    if gap or _EDGES["No gap"].search(last):
        numbers["gap"] = float(gap[1]) if gap else 0.0
    relaxation: dict[str, float] = {}
    forces, stress = _table(last, "Forces  # eV/Ang"), _table(last, "Stress tensor  # eV/Ang^3")
    if forces is not None:
        relaxation["max_force"] = float(np.abs(forces).max())
    if stress is not None:
        relaxation["max_stress"] = float(np.abs(stress).max() * _EV_PER_A3_IN_GPA)
    if len(parts) > 1:
        relaxation["steps"] = float(len(parts) - 1)
        if not np.allclose(initial.lattice, structure.lattice, atol=1e-6):
            numbers["volume"] = structure.volume / n
    version = _find(r"^ \|__\|\|  \| \|\|/\\\| - (\S+)", head) or "not stated"
    return Calculation(
        place, file_digest(path), "", "gpaw", version, functional, initial, structure, numbers, settings, relaxation
    )


def _find(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else None


def _parameters(head: str) -> list[str]:
    """Input parameters that a result may depend on and that nothing else here tells of."""
    block = head.partition("Input parameters:\n")[2].partition("\n\n")[0]
    lines = [line.strip().rstrip(",") for line in block.splitlines()]
    return sorted(line for line in lines if line.partition("=")[0] not in _TOLD_OR_OF_NO_CONSEQUENCE)


def _crystal(part: str) -> Crystal:
    cell = part.partition("Unit cell  #")[2]
    atoms = _ATOM.findall(part.partition("Unit cell  #")[0])
    vectors = _VECTOR.findall(cell)[:3]
    if len(vectors) < 3 or not atoms:
        raise UnusableError("the log has no table of atoms and cell (written by another version of GPAW?)")
    if {periodic for periodic, *_ in vectors} != {"yes"}:
        raise UnusableError("the cell is not periodic in all three directions")
    from ase import Atoms

    positions = np.array([[float(x) for x in xyz] for _, *xyz in atoms])
    lattice = np.array([[float(x) for x in xyz] for _, *xyz in vectors])
    return validate(Crystal.from_ase(Atoms([symbol for symbol, *_ in atoms], positions, cell=lattice, pbc=True)))


def _table(part: str, title: str) -> NDArray[np.float64] | None:
    _, found, rest = part.partition("\n" + title)
    rows = _TRIPLE.findall(rest.partition("\n\n")[0]) if found else []
    return np.array(rows, dtype=float) if rows else None
