"""What a run of pw.x left: its XML file, in Hartree and Bohr, and why there is none.

The XML follows QE's schema (https://www.quantum-espresso.org/ns/qes/qes-1.0) and has every digit, where the text that
ASE reads is rounded and leaves eigenvalues out on long lists of k-points.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # the file was written by the program we started

import numpy as np
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from materia.simulation._failures import Failure, Reason

Floats = NDArray[np.float64]
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
_SHOWN = 300  # characters of pw.x's own words in a message


@dataclass(frozen=True)
class Solution:
    """A finished run.

    Attributes:
        energy: total energy extrapolated to zero smearing, eV: the mean of energy and free energy.
        free_energy: with the smearing's entropy term, eV.
        forces: (n_atoms, 3), eV/Å; None where none were asked for.
        stress: (6,) xx, yy, zz, yz, xz, xy, eV/Å³, positive where the cell wants to shrink (ASE); None likewise.
        n_electrons: in the cell.
        kpoints: (n_k, 3) fractional reciprocal coordinates.
        eigenvalues: (n_k, n_bands) eV; both spins beside each other where there are two.
        ranks: MPI processes that computed it together.
        pools: groups of them that shared out the k-points.
    """

    energy: float
    free_energy: float
    forces: Floats | None
    stress: Floats | None
    n_electrons: float
    kpoints: Floats
    eigenvalues: Floats
    ranks: int
    pools: int

    @property
    def results(self) -> dict[str, Any]:
        """As ASE's calculators keep them."""
        found = {"energy": self.energy, "free_energy": self.free_energy, "forces": self.forces, "stress": self.stress}
        return {name: value for name, value in found.items() if value is not None}


def read_xml(path: Path) -> Solution:
    """The solution in ``prefix.xml``.

    Raises:
        Failure: the file is missing or is not what pw.x writes.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314
        return _solution(root)
    except (OSError, ElementTree.ParseError, KeyError, ValueError, AttributeError) as error:
        raise Failure(Reason.UNEXPECTED, f"pw.x left no output to read: {type(error).__name__}: {error}") from error


def _solution(root: ElementTree.Element) -> Solution:
    output = root.find("output")
    if output is None:
        raise ValueError("no output")
    cell = np.array([_numbers(output, f"atomic_structure/cell/a{i}") for i in (1, 2, 3)])  # Bohr
    alat = float(output.find("atomic_structure").attrib["alat"])  # type: ignore[union-attr]
    bands = output.findall("band_structure/ks_energies")
    cartesian = np.array([_numbers(entry, "k_point") for entry in bands]) / alat  # in 2 pi / Bohr
    etot = _number(output, "total_energy/etot")
    entropy = _number(output, "total_energy/demet") if output.find("total_energy/demet") is not None else 0.0
    forces, stress = output.find("forces"), output.find("stress")
    return Solution(
        energy=(etot - entropy / 2) * Hartree,
        free_energy=etot * Hartree,
        forces=None if forces is None else _array(forces).reshape(-1, 3) * Hartree / Bohr,
        stress=None if stress is None else -_array(stress).reshape(3, 3)[VOIGT] * Hartree / Bohr**3,
        n_electrons=_number(output, "band_structure/nelec"),
        kpoints=cartesian @ cell.T,
        eigenvalues=np.array([_numbers(entry, "eigenvalues") for entry in bands]) * Hartree,
        ranks=int(_number(root, "parallel_info/nprocs")),
        pools=int(_number(root, "parallel_info/npool")),
    )


def _array(element: ElementTree.Element) -> Floats:
    return np.array([float(word) for word in (element.text or "").split()])


def _numbers(parent: ElementTree.Element, path: str) -> Floats:
    found = parent.find(path)
    if found is None:
        raise ValueError(f"no {path}")
    return _array(found)


def _number(parent: ElementTree.Element, path: str) -> float:
    return float(_numbers(parent, path)[0])


# What pw.x prints -> why it stopped. Routines stop with "Error in routine NAME (code):" and a line of words.
_WORDS: tuple[tuple[str, Reason, str], ...] = (
    (
        r"Cannot allocate memory|insufficient virtual memory|Error allocating|[Nn]ot enough memory|std::bad_alloc",
        Reason.OUT_OF_MEMORY,
        "",
    ),
    (r"convergence NOT achieved", Reason.NOT_CONVERGED, "the self-consistency did not converge"),
    (r"too many bands are not converged", Reason.NOT_CONVERGED, "the bands did not converge"),
    (r"Error in routine +[cr]diaghg", Reason.NOT_CONVERGED, "the Hamiltonian could not be diagonalised"),
    (
        r"An error occurred in MPI_Init|before MPI_INIT completed|Error in routine +mp_start_pools",
        Reason.ENGINE_MISSING,
        "the ranks do not find each other: the launcher does not speak the process management (PMI) of pw.x's MPI; "
        "see mpi.launch of the site profile",
    ),
    (r"Error in routine +check_atoms", Reason.ATOMS_OVERLAP, ""),
    (r"Error in routine +(?:readpp|read_pseudo|upf)", Reason.MISSING_PSEUDOPOTENTIAL, ""),
)
_ERROR = re.compile(r"Error in routine +(\S+) +\((-?\d+)\):\s*\n\s*(.*)")


def failure_of(text: str, returncode: int, program: str = "pw.x") -> Failure | None:
    """Why a run has no solution; None where it ended well.

    Args:
        text: what the program and its launcher printed on both streams.
        returncode: of the command; -N or 128 + N: ended by signal N.
    """
    for pattern, reason, words in _WORDS:
        if found := re.search(pattern, text):
            return Failure(reason, words or _said(text, found.start(), program))
    if returncode == 0 and "JOB DONE." in text:
        return None
    number = -returncode if returncode < 0 else returncode - 128
    if number in (signal.SIGKILL, signal.SIGTERM):
        name = signal.Signals(number).name
        return Failure(
            Reason.KILLED, f"{program} was ended from outside by {name}: a person, a limit, or a lack of memory"
        )
    last = _said(text, max(0, len(text) - _SHOWN), program)
    return Failure(Reason.UNEXPECTED, f"{program} ended with {returncode}: {last}")


def _said(text: str, start: int, program: str) -> str:
    """The program's own words: those of its error message, or what stands at that place."""
    if error := _ERROR.search(text):
        return f"{program} stopped in {error[1]}: {error[3].strip()}"[:_SHOWN]
    return " ".join(text[start : start + _SHOWN].split())
