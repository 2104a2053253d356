"""VASP (Kresse and Furthmüller, Phys. Rev. B 54, 11169 (1996)), a program of the user's, with POTCARs of the user's.

Nobody of this project has a licence: input, failures and reading back are tested with a stand-in that returns a real
``vasprun.xml``; VASP itself was not run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.simulation._failures import Failure, Reason, ordinary_failure
from materia.simulation._kpoints import grid_size, irreducible_kpoints
from materia.simulation._levels import Level
from materia.simulation._ranks import ALONE, World, launcher_words, layout, ranks_wanted
from materia.simulation.engines import _potcars
from materia.simulation.engines._protocol import Bands, Capabilities

if TYPE_CHECKING:
    from ase import Atoms

    from materia.simulation.engines._vasp_run import Vasp

STEADY = "steadier electronic steps"
# https://www.vasp.at/wiki/index.php/Category:INCAR_tag; what MPStaticSet has for magnets, U and plots is taken back
INCAR: dict[str, Any] = {
    "ALGO": "Normal",
    "EDIFF": 1e-7,
    "GGA": "PE",
    "IBRION": -1,
    "ISIF": 2,  # with stress
    "ISMEAR": -1,  # Fermi-Dirac
    "ISPIN": 1,
    "ISYM": 2,
    "LASPH": True,
    "LCHARG": True,
    "LREAL": False,
    "LWAVE": False,
    "NELM": 120,
    "NSW": 0,
    "PREC": "Accurate",
    **dict.fromkeys(("EDIFF_PER_ATOM", "LAECHG", "LELF", "LORBIT", "LVHAR", "LVTOT", "MAGMOM", "LMIXTAU")),
    **dict.fromkeys(("LDAU", "LDAUU", "LDAUJ", "LDAUL", "LDAUTYPE", "LDAUPRINT", "LMAXMIX")),
}


class VaspEngine:
    """Runs VASP in the job's folder; the driver asks only for capabilities, digests and electron counts."""

    name = "vasp"
    electrons = True
    own_ranks = True

    def capabilities(self, level: Level | None = None) -> Capabilities:
        from materia.simulation.engines import _vasp_run

        words = _vasp_run.command()
        if shutil.which(words[0]) is None:
            missing = f"there is no {words[0]} on the PATH to run VASP"
            return Capabilities(False, missing=missing, remedy=_vasp_run.INSTALL)
        try:
            _potcars.folder()
        except EngineError as error:
            return Capabilities(False, missing=error.what, remedy=error.remedy or "")
        return Capabilities(True, "not asked: VASP names its version in a run", {"mpi": True, "planewaves": True})

    def world(self) -> World:
        if ranks_wanted() > 1 and not launcher_words():
            raise Failure(
                Reason.ENGINE_MISSING, f"{ranks_wanted()} ranks are wanted, and nothing says what starts them"
            )
        return ALONE

    def pseudopotentials(self, elements: Sequence[str], level: Level) -> dict[str, str]:
        return {element: chosen.digest for element, chosen in _potcars.choose(elements).items()}

    def n_electrons(self, crystal: Crystal, level: Level) -> int:
        chosen = _potcars.choose(crystal.elements)
        return round(sum(n * chosen[element].valence for element, n in crystal.composition.items()))

    def choices(self, crystal: Crystal, level: Level) -> dict[str, Any]:
        return {"potcars": {element: one.title for element, one in _potcars.choose(crystal.elements).items()}}

    def calculator(self, crystal: Crystal, level: Level, log: Path, *, remedy: str = "", **overrides: Any) -> Vasp:
        """``overrides``: ``kpts={"size": ...}`` of a Gamma-centred grid, and ``spinpol``, as for GPAW."""
        from materia.simulation.engines._vasp_run import Setup, Vasp

        size = overrides.pop("kpts", {}).get("size") or grid_size(crystal, level.kpoint_density)
        incar = {**INCAR, "ENCUT": level.cutoff_ev, "SIGMA": level.smearing_ev}
        if overrides.pop("spinpol", False):
            incar["ISPIN"] = 2
        if overrides:
            raise TypeError(f"VASP takes no {', '.join(overrides)}")
        if remedy == STEADY:
            incar |= {"ALGO": "All", "NELM": 400}
        if ranks_wanted() > 1:
            points = irreducible_kpoints(crystal, level.kpoint_density, size)
            incar["KPAR"] = layout(points, ranks_wanted()).kpoints
        return Vasp(Setup(incar, _potcars.choose(crystal.elements), (size[0], size[1], size[2])), log)

    def bands(self, atoms: Atoms, level: Level, log: Path) -> Bands:
        calculator: Vasp = atoms.calc
        n_occupied = self.n_electrons(Crystal.from_ase(atoms), level) // 2
        grid, some = calculator.eigenvalues(), slice(n_occupied + 1)
        kpoints = np.asarray(atoms.cell.bandpath(density=level.path_density).kpts)
        path = calculator.bands(kpoints, n_occupied + 4, log)
        return Bands(n_occupied, grid.kpoints, grid.values[:, some], path.kpoints, path.values[:, some])

    def classify(self, error: BaseException) -> Failure:
        return ordinary_failure(error)

    def remedy(self, reason: Reason) -> str | None:
        return {Reason.NOT_CONVERGED: STEADY}.get(reason)

    def versions(self) -> dict[str, str]:
        """VASP's own stands in the vasprun.xml that is kept beside the log."""
        return {name: version(name) for name in ("pymatgen", "ase", "numpy", "scipy")}
