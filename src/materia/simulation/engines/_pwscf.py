"""Runs of pw.x: its input by ASE, its program under the job's launcher, its output by XML."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io.espresso import write_espresso_in
from numpy.typing import NDArray

from materia.simulation._failures import Failure, Reason
from materia.simulation._ranks import launcher_words, layout, ranks_wanted
from materia.simulation.engines._protocol import Response
from materia.simulation.engines._pseudo_folder import Pseudopotential
from materia.simulation.engines._pwscf_output import Solution, failure_of, read_xml

COMMAND: Final = "MATERIA_PW_COMMAND"
"""Environment variable: what runs pw.x on one rank, as in ``python -m qepy --pw.x``; ``pw.x`` by default."""
INSTALL: Final = (
    "put pw.x on the PATH (apt-get install quantum-espresso, or the cluster's module), "
    f"or name what runs it in {COMMAND}, as in {COMMAND}='python -m qepy --pw.x'"
)
_ANSWER_S: Final = 60.0
_PREFIX: Final = "pwscf"
# of a build with MPI alone, of one with OpenMP as well, and of one without MPI
_RANKS: Final = re.compile(r"running on +(\d+) processors|Number of MPI processes: +(\d+)|Serial .*version")
_MD5: Final = re.compile(r"MD5 check sum: *([0-9a-f]{32})")


@dataclass(frozen=True)
class Program:
    """What ``pw.x`` says of itself.

    Attributes:
        version: as in ``6.7MaX``; "" where it does not answer.
        mpi: whether several ranks can compute together.
        trouble: why it cannot be used; empty if it can.
    """

    version: str = ""
    mpi: bool = False
    trouble: str = ""


def words_of_pw() -> list[str]:
    """The user's command for pw.x."""
    return shlex.split(os.environ.get(COMMAND, "")) or ["pw.x"]


def program() -> Program:
    """The program behind :func:`words_of_pw`; asked once."""
    words = words_of_pw()
    if shutil.which(words[0]) is None:
        return Program(trouble=f"there is no {words[0]} on the PATH to run Quantum ESPRESSO")
    return _program(tuple(words))


@cache
def _program(words: tuple[str, ...]) -> Program:
    with tempfile.TemporaryDirectory() as folder:  # without input it says who it is, and leaves a file CRASH
        try:
            answer = subprocess.run(
                words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Program(trouble=f"{shlex.join(words)} does not start: {error}")
    text = (answer.stdout + answer.stderr).decode(errors="replace")
    version = re.search(r"Program PWSCF\s+v\.\s*(\S+)", text)
    if version is None:
        last = " ".join(text.strip().rpartition("\n")[2].split()) or f"exit code {answer.returncode}"
        return Program(trouble=f"{shlex.join(words)} does not answer as pw.x does: {last}")
    return Program(version[1], "Parallel version (MPI" in text)


@dataclass(frozen=True)
class Setup:
    """What a calculation needs beside the atoms.

    Attributes:
        namelists: pw.x's input variables by namelist (``control``, ``system``, ``electrons``).
        pseudopotentials: by element; all in one folder.
        kpoints: numbers of a Gamma-centred grid; None: the Gamma point alone, with real wave functions.
        n_kpoints: irreducible ones, where several ranks share them out.
    """

    namelists: Mapping[str, Mapping[str, Any]]
    pseudopotentials: Mapping[str, Pseudopotential]
    kpoints: tuple[int, int, int] | None
    n_kpoints: int


class Pwscf(Calculator):  # type: ignore[misc]
    """An ASE calculator: one self-consistent run of pw.x for each geometry, forces and stress with it.

    Beside ``log`` lie the last input (``.pwi``) and output (``.xml``); the density is kept in a temporary folder
    there, for :meth:`bands`.

    Args:
        setup: what to compute.
        log: where pw.x's text goes, one run after the other.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  (ASE's name and type)

    def __init__(self, setup: Setup, log: Path) -> None:
        super().__init__()
        self.setup, self.log = setup, log
        self.solution: Solution | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="pwscf-", dir=log.parent)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        kpoints = self.setup.kpoints
        self.solution = self._run({"calculation": "scf"}, {}, kpoints, self.setup.n_kpoints, self.log)
        self.results = self.solution.results

    def bands(self, kpoints: NDArray[np.float64], n_bands: int, log: Path) -> Solution:
        """Eigenvalues in the potential of the last geometry.

        Args:
            kpoints: (n_k, 3) fractional reciprocal coordinates.
            n_bands: bands at each.
            log: as for the calculator.
        """
        weighted = np.column_stack([kpoints, np.ones(len(kpoints))])
        control = {"calculation": "bands", "tprnfor": False, "tstress": False}
        return self._run(control, {"nbnd": n_bands}, weighted, len(kpoints), log)

    def response(self, atoms: Atoms, log: Path) -> Response:
        """The atoms' state with its wave functions, by pw.x, and what ph.x says of it.

        Raises:
            Failure: one of both did not end well.
        """
        from materia.simulation.engines._phonon import respond

        self.atoms = atoms.copy()
        control = {"calculation": "scf", "tprnfor": False, "tstress": False}
        kpoints = self.setup.kpoints or (1, 1, 1)  # ph.x knows no real wave functions
        self._run(control, {}, kpoints, self.setup.n_kpoints, self.log, keep=True)
        try:
            return respond(Path(self._scratch.name), _PREFIX, log)
        finally:
            self._drop_waves()

    def _run(
        self,
        control: Mapping[str, Any],
        system: Mapping[str, Any],
        kpoints: Any,
        n_kpoints: int,
        log: Path,
        *,
        keep: bool = False,
    ) -> Solution:
        """One run of pw.x; ``keep``: its wave functions.

        Raises:
            Failure: it has no solution.
        """
        scratch, source = Path(self._scratch.name), log.with_suffix(".pwi")
        output = scratch / f"{_PREFIX}.xml"
        output.unlink(missing_ok=True)  # that of the geometry before must not be taken for this one's
        self._write_input(source, control, system, kpoints)
        pools = layout(n_kpoints, ranks_wanted()).kpoints
        options = ["-nk", str(pools)] if ranks_wanted() > 1 else []
        text, returncode = execute(words_of_pw(), [*options, "-in", source.name], log)
        started = {int(a or b or 1) for a, b in _RANKS.findall(text)}
        if started and started != {ranks_wanted()}:
            raise Failure(
                Reason.ENGINE_MISSING,
                f"{ranks_wanted()} ranks were to compute together, pw.x ran on {max(started)}: its MPI is not the one "
                "that the launcher speaks to; see mpi.launch of the site profile",
            )
        if failure := failure_of(text, returncode):
            raise failure
        # Where a file is missing, Debian's pw.x takes one of that name from its own examples.
        read, meant = set(_MD5.findall(text)), {chosen.upf.md5 for chosen in self.setup.pseudopotentials.values()}
        if read - meant:
            message = f"pw.x read other pseudopotentials than the job's (MD5 {', '.join(sorted(read - meant))})"
            raise Failure(Reason.MISSING_PSEUDOPOTENTIAL, f"{message}: those in the folder are gone or were exchanged")
        solution = read_xml(output)
        shutil.copyfile(output, log.with_suffix(".xml"))
        if not keep:
            self._drop_waves()
        return solution

    def _drop_waves(self) -> None:
        """They are by far the largest files, and nothing reads them again."""
        for waves in Path(self._scratch.name).rglob("*wfc*"):
            waves.unlink()

    def _write_input(self, path: Path, control: Mapping[str, Any], system: Mapping[str, Any], kpoints: Any) -> None:
        setup, atoms = self.setup, self.atoms.copy()
        chosen = setup.pseudopotentials
        fixed = {
            "prefix": _PREFIX,
            "outdir": f"./{Path(self._scratch.name).name}",
            "pseudo_dir": str(next(iter(chosen.values())).path.parent),
            "disk_io": "low",
            "tprnfor": True,
            "tstress": True,
        }
        namelists: dict[str, dict[str, Any]] = {name: dict(values) for name, values in setup.namelists.items()}
        namelists["control"] = {**fixed, **control}
        namelists["system"] |= system
        if namelists["system"].get("nspin") == 2:
            moments = atoms.get_initial_magnetic_moments()
            namelists["system"]["tot_magnetization"] = float(moments.sum())
            # pw.x starts from a part of the valence electrons, ASE holds Bohr magnetons
            atoms.set_initial_magnetic_moments(moments / [chosen[s].upf.valence for s in atoms.symbols])
        with path.open("w") as stream:
            write_espresso_in(
                stream,
                atoms,
                input_data=namelists,
                pseudopotentials={element: one.path.name for element, one in chosen.items()},
                kpts=kpoints,
                crystal_coordinates=True,
            )


def execute(program: Sequence[str], arguments: Sequence[str], log: Path) -> tuple[str, int]:
    """A program under the launcher of this job, in the log's folder: what it printed, and its exit code."""
    argv = [*launcher_words(), *program, *arguments]
    with log.open("ab") as stream:
        start = stream.tell()
        try:
            done = subprocess.run(
                argv, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, check=False
            )
        except OSError as error:
            raise Failure(Reason.ENGINE_MISSING, f"{argv[0]} does not start: {error}") from error
    with log.open("rb") as stream:
        stream.seek(start)
        return stream.read().decode(errors="replace"), done.returncode
