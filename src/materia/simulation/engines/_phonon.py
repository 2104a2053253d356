"""Runs of ph.x, Quantum ESPRESSO's density-functional perturbation theory (Baroni et al., Rev. Mod. Phys. 73, 515
(2001)): the response of an insulator to a homogeneous field and to its atoms, at the zone centre."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from ase.units import Bohr, Ry
from numpy.typing import NDArray

from materia.simulation._failures import Failure, Reason
from materia.simulation.engines._protocol import Response
from materia.simulation.engines._pwscf import execute, words_of_pw
from materia.simulation.engines._pwscf_output import failure_of

INSTALL: Final = "ph.x comes with Quantum ESPRESSO: put it beside pw.x"
THRESHOLD: Final = 1e-14  # Ry², of ph.x's self-consistency
_ANSWER_S: Final = 60.0
_NUMBER: Final = r"[-+]?\d+\.\d*(?:[EeDd][-+]?\d+)?"


def words() -> list[str]:
    """What runs ph.x: the user's command for pw.x with the other program's name."""
    return [re.sub(r"pw\.x$", "ph.x", word) for word in words_of_pw()]


def available() -> bool:
    """Whether ph.x answers; asked once for each command."""
    found = words()
    return found != words_of_pw() and shutil.which(found[0]) is not None and _answers(tuple(found))


@cache
def _answers(command: tuple[str, ...]) -> bool:
    with tempfile.TemporaryDirectory() as folder:  # without input it says who it is
        try:
            answer = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return b"Program PHONON" in answer.stdout


def respond(scratch: Path, prefix: str, log: Path) -> Response:
    """The response of the state that pw.x left, wave functions included.

    Args:
        scratch: pw.x's folder, beside the log.
        prefix: of its files.
        log: where ph.x's text goes; beside it lie its input (``.phi``) and its matrix (``.dyn``).

    Raises:
        Failure: it did not converge, or ended without a result.
    """
    source, matrix = log.with_suffix(".phi"), log.with_suffix(".dyn")
    matrix.unlink(missing_ok=True)
    lines = [
        "response at the zone centre",
        "&inputph",
        f"  prefix = '{prefix}'",
        f"  outdir = './{scratch.name}'",
        f"  fildyn = '{matrix.name}'",
        f"  tr2_ph = {THRESHOLD:.1e}".replace("e", "d"),
        "  epsil = .true.",
        "/",
        "0.0 0.0 0.0",
    ]
    source.write_text("\n".join(lines) + "\n")
    text, returncode = execute(words(), ["-in", source.name], log)
    if failure := failure_of(text, returncode, program="ph.x"):
        raise failure
    try:
        return read_matrix(matrix.read_text())
    except (OSError, ValueError) as error:
        raise Failure(Reason.UNEXPECTED, f"ph.x left no matrix to read: {type(error).__name__}: {error}") from error


def read_matrix(text: str) -> Response:
    """The content of ph.x's file of the dynamical matrix (``fildyn``): Ry/Bohr² there, and not divided by masses.

    Raises:
        ValueError: a part is missing.
    """
    head = text.split("Dynamical  Matrix in cartesian axes")
    body = head[1].split("Dielectric Tensor:") if len(head) > 1 else []
    if len(body) < 2 or "Effective Charges E-U" not in body[1]:
        raise ValueError("no dynamical matrix with dielectric tensor and effective charges")
    tensor, charges = body[1].split("Diagonalizing")[0].split("Effective Charges E-U")
    electronic = _numbers(tensor)
    by_atom = [_numbers(block) for block in re.split(r"atom #\s*\d+", charges)[1:]]
    n = len(by_atom)
    blocks = re.findall(rf"^ +(\d+) +(\d+) *\n((?:(?: +{_NUMBER}){{6}} *\n){{3}})", body[0], flags=re.MULTILINE)
    if len(electronic) != 9 or not n or any(len(one) != 9 for one in by_atom) or len(blocks) != n * n:
        raise ValueError(f"{len(electronic)} numbers of the tensor, charges of {n} atoms, {len(blocks)} blocks")
    constants = np.zeros((n, 3, n, 3))
    for i, j, block in blocks:  # real parts; at the zone centre there are no others
        constants[int(i) - 1, :, int(j) - 1] = _numbers(block).reshape(3, 6)[:, ::2]
    return Response(
        electronic=electronic.reshape(3, 3),
        charges=np.array(by_atom).reshape(n, 3, 3),
        force_constants=constants.reshape(3 * n, 3 * n) * Ry / Bohr**2,
    )


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array([float(x.replace("D", "E").replace("d", "e")) for x in re.findall(_NUMBER, text)])
