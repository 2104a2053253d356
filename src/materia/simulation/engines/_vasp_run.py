"""Runs of VASP: its input by pymatgen's sets, its program under the job's launcher, its output by ``vasprun.xml``."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.data.calculations import read_vasprun
from materia.errors import MateriaError
from materia.simulation._failures import Failure, Reason
from materia.simulation._ranks import launcher_words, ranks_wanted
from materia.simulation.engines._potcars import Potcar

COMMAND: Final = "MATERIA_VASP_COMMAND"
"""Environment variable: what runs VASP on one rank; ``vasp_std`` by default."""
INSTALL: Final = f"put vasp_std on the PATH (the cluster's module), or name what runs it in {COMMAND}"
_KEPT: Final = ("INCAR", "KPOINTS", "POSCAR", "vasprun.xml")
# "running on    4 total cores" until 6.2, "running    4 mpi-ranks, with ..." since
_RANKS: Final = re.compile(r"running on +(\d+) total cores|running +(\d+) mpi-ranks")
_SAME: Final = 1e-4  # Å


def command() -> list[str]:
    """The user's command for VASP."""
    return shlex.split(os.environ.get(COMMAND, "")) or ["vasp_std"]


@dataclass(frozen=True)
class Setup:
    """What a calculation needs beside the atoms.

    Attributes:
        incar: tags that replace those of pymatgen's MPStaticSet; None removes one.
        potcars: by element.
        kpoints: numbers of a Gamma-centred grid.
    """

    incar: Mapping[str, Any]
    potcars: Mapping[str, Potcar]
    kpoints: tuple[int, int, int]


@dataclass(frozen=True)
class Eigenvalues:
    """Of a run without spin: (n_k, 3) fractional k-points, (n_k, n_bands) eV."""

    kpoints: NDArray[np.float64]
    values: NDArray[np.float64]


class Vasp(Calculator):  # type: ignore[misc]
    """An ASE calculator: one self-consistent run of VASP for each geometry, forces and stress with it.

    Beside ``log`` lie the last INCAR, KPOINTS, POSCAR and vasprun.xml; POTCAR and density are in a temporary folder
    there, and go with it.

    Args:
        setup: what to compute.
        log: where VASP's text goes, one run after the other.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  (ASE's name and type)

    def __init__(self, setup: Setup, log: Path) -> None:
        super().__init__()
        self.setup, self.log = setup, log
        self._scratch = tempfile.TemporaryDirectory(prefix="vasp-", dir=log.parent)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        from ase.io import read

        super().calculate(atoms, properties, system_changes)
        output = self._run({}, None, self.log)
        self._check(output)
        found = read(output, index=-1, format="vasp-xml").calc.results
        back = np.argsort(_order(self.atoms))
        self.results = {
            "energy": float(found["energy"]),
            "free_energy": float(found["free_energy"]),
            "forces": np.asarray(found["forces"])[back],
            "stress": np.asarray(found["stress"]),
        }

    def eigenvalues(self) -> Eigenvalues:
        """On the grid of the last run."""
        return _eigenvalues(self.log.with_name(f"{self.log.stem}.vasprun.xml"))

    def bands(self, kpoints: NDArray[np.float64], n_bands: int, log: Path) -> Eigenvalues:
        """Eigenvalues in the density of the last run.

        Args:
            kpoints: (n_k, 3) fractional reciprocal coordinates.
            n_bands: bands at each.
            log: as for the calculator.
        """
        return _eigenvalues(self._run({"ICHARG": 11, "NBANDS": n_bands, "LCHARG": False}, kpoints, log))

    def _run(self, incar: Mapping[str, Any], kpoints: NDArray[np.float64] | None, log: Path) -> Path:
        """One run of VASP; its vasprun.xml.

        Raises:
            Failure: it left none.
        """
        scratch = Path(self._scratch.name)
        output = scratch / "vasprun.xml"
        output.unlink(missing_ok=True)  # that of the geometry before must not be taken for this one's
        self._write_input(scratch, incar, kpoints)
        text, returncode = _execute(scratch, log)
        for name in _KEPT:
            if (scratch / name).is_file():
                shutil.copyfile(scratch / name, log.with_name(f"{log.stem}.{name}"))
        if failure := _failure_of(text, returncode, output):
            raise failure
        return log.with_name(f"{log.stem}.vasprun.xml")

    def _write_input(self, scratch: Path, incar: Mapping[str, Any], kpoints: NDArray[np.float64] | None) -> None:
        from pymatgen.io.vasp.inputs import Incar, Kpoints
        from pymatgen.io.vasp.sets import MPStaticSet

        atoms = self.atoms[_order(self.atoms)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the set's own choices, all of which are replaced below
            made = MPStaticSet(Crystal.from_ase(atoms).to_pymatgen(), sort_structure=False)
            tags = {**made.incar, **self.setup.incar, **incar}
            poscar = made.poscar
        if tags.get("ISPIN") == 2:
            moments = atoms.get_initial_magnetic_moments()
            tags |= {"MAGMOM": [float(m) for m in moments], "NUPDOWN": float(moments.sum())}
        Incar({name: value for name, value in tags.items() if value is not None}).write_file(scratch / "INCAR")
        poscar.write_file(scratch / "POSCAR", significant_figures=14)
        if kpoints is None:
            grid = Kpoints.gamma_automatic(self.setup.kpoints)
        else:
            weights = [1.0] * len(kpoints)
            grid = Kpoints(
                "path", len(kpoints), Kpoints.supported_modes.Reciprocal, kpts=kpoints.tolist(), kpts_weights=weights
            )
        grid.write_file(str(scratch / "KPOINTS"))
        potcar = "".join(self.setup.potcars[symbol].text for symbol in dict.fromkeys(atoms.get_chemical_symbols()))
        (scratch / "POTCAR").write_text(potcar)

    def _check(self, output: Path) -> None:
        """The reader of finished calculations says whether it converged; what it says was computed must be what was
        asked for.

        Raises:
            Failure: not converged, cut off, or of something else.
        """
        try:
            done = read_vasprun(output, output.name)
        except MateriaError as error:
            reason = Reason.NOT_CONVERGED if error.what.startswith("not converged") else Reason.UNEXPECTED
            raise Failure(reason, error.what) from error
        atoms = self.atoms[_order(self.atoms)]
        same = len(atoms) == done.structure.n_atoms and list(atoms.numbers) == done.structure.numbers.tolist()
        if not same or np.abs(done.structure.lattice - atoms.cell.array).max() > _SAME:
            raise Failure(Reason.UNEXPECTED, "the vasprun.xml is of another structure than VASP was given")
        titles = {element: one.title for element, one in self.setup.potcars.items()}
        if done.settings["pseudopotentials"] != titles:
            raise Failure(
                Reason.MISSING_PSEUDOPOTENTIAL, f"VASP read other POTCARs: {done.settings['pseudopotentials']}"
            )
        wanted = {"cutoff_ev": self.setup.incar["ENCUT"], "smearing_ev": self.setup.incar["SIGMA"]}
        other = {name: done.settings[name] for name, value in wanted.items() if abs(done.settings[name] - value) > 1e-6}
        if other or list(self.setup.kpoints) != done.settings.get("kpoints"):
            raise Failure(Reason.UNEXPECTED, f"VASP computed at other settings than the level's: {other or 'k-points'}")


def _order(atoms: Atoms) -> NDArray[np.int64]:
    """(n,) atoms by element, as a POSCAR lists them; equal elements as they were."""
    return np.argsort(atoms.numbers, kind="stable")


def _execute(scratch: Path, log: Path) -> tuple[str, int]:
    """VASP under the launcher of this job: what it printed, and its exit code."""
    argv = [*launcher_words(), *command()]
    with log.open("ab") as stream:
        start = stream.tell()
        try:
            done = subprocess.run(
                argv, cwd=scratch, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, check=False
            )
        except OSError as error:
            raise Failure(Reason.ENGINE_MISSING, f"{argv[0]} does not start: {error}") from error
    with log.open("rb") as stream:
        stream.seek(start)
        return stream.read().decode(errors="replace"), done.returncode


def _failure_of(text: str, returncode: int, output: Path) -> Failure | None:
    started = {int(a or b) for a, b in _RANKS.findall(text)}
    if started and started != {ranks_wanted()}:
        return Failure(
            Reason.ENGINE_MISSING,
            f"{ranks_wanted()} ranks were to compute together, VASP ran on {max(started)}: its MPI is not the one that "
            "the launcher speaks to; see mpi.launch of the site profile",
        )
    if returncode == 0 and output.is_file():
        return None
    last = " ".join(text.strip().rpartition("\n")[2].split())
    if returncode < 0 or returncode > 128:
        return Failure(Reason.KILLED, f"VASP was ended by signal {-returncode if returncode < 0 else returncode - 128}")
    if "memory" in last.lower() and "alloc" in text.lower():
        return Failure(Reason.OUT_OF_MEMORY, last)
    return Failure(Reason.UNEXPECTED, f"VASP ended with exit code {returncode} and no result: {last or 'no output'}")


def _eigenvalues(output: Path) -> Eigenvalues:
    from pymatgen.electronic_structure.core import Spin
    from pymatgen.io.vasp import Vasprun

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = Vasprun(str(output), parse_dos=False, parse_potcar_file=False)
    return Eigenvalues(np.asarray(run.actual_kpoints, dtype=float), np.asarray(run.eigenvalues[Spin.up])[:, :, 0])
