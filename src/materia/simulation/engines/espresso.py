"""Quantum ESPRESSO's pw.x (Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017)), a program of its own, and
ph.x for what responds.

pw.x is what runs on several ranks; Python stays one process beside it. The user brings the pseudopotentials
(:mod:`materia.simulation.engines._pseudo_folder`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.simulation._failures import Failure, Reason, ordinary_failure
from materia.simulation._kpoints import grid_size, irreducible_kpoints
from materia.simulation._levels import Level
from materia.simulation._ranks import ALONE, World, launcher_words, ranks_wanted
from materia.simulation.engines import _pseudo_folder
from materia.simulation.engines._protocol import Bands, Capabilities, Response
from materia.simulation.engines._pseudo_folder import Pseudopotential

if TYPE_CHECKING:
    from ase import Atoms

    from materia.simulation.engines._pwscf import Pwscf

MIXING = "steadier density mixing"
STEADY = {
    "mixing_mode": "local-TF",
    "mixing_beta": 0.2,
    "mixing_ndim": 12,
    "electron_maxstep": 400,
    "diagonalization": "cg",
}
CONVERGENCE_RY = 2e-10  # estimated error of the self-consistency, per atom
DUAL_NORM_CONSERVING, DUAL_AUGMENTED = 4.0, 8.0  # density cutoff over wave-function cutoff; 4 is exact for the first


class EspressoEngine:
    """Runs pw.x in the job's folder; the driver asks only for capabilities, digests and electron counts."""

    name = "espresso"
    electrons = True
    own_ranks = True

    def capabilities(self, level: Level | None = None) -> Capabilities:
        from materia.simulation.engines import _phonon, _pwscf

        found = _pwscf.program()
        if found.trouble:
            return Capabilities(False, missing=found.trouble, remedy=_pwscf.INSTALL)
        try:
            any_pbe = _pseudo_folder.holds_any("PBE")
        except EngineError as error:
            return Capabilities(False, found.version, missing=error.what, remedy=error.remedy or "")
        if not any_pbe:
            missing = f"{_pseudo_folder.folder()} holds no PBE pseudopotential in UPF"
            return Capabilities(False, found.version, missing=missing, remedy=_pseudo_folder.REMEDY)
        features = {"mpi": found.mpi, "planewaves": found.mpi, "dielectric": _phonon.available()}
        return Capabilities(True, found.version, features, remedies={"dielectric": _phonon.INSTALL})

    def world(self) -> World:
        if ranks_wanted() > 1 and not launcher_words():
            raise Failure(
                Reason.ENGINE_MISSING, f"{ranks_wanted()} ranks are wanted, and nothing says what starts them"
            )
        return ALONE

    def pseudopotentials(self, elements: Sequence[str], level: Level) -> dict[str, str]:
        return {element: chosen.digest for element, chosen in _pseudo_folder.choose(elements, level.xc).items()}

    def n_electrons(self, crystal: Crystal, level: Level) -> int:
        folder = _pseudo_folder.folder()
        return round(sum(n * _valence(folder, element, level.xc) for element, n in crystal.composition.items()))

    def choices(self, crystal: Crystal, level: Level) -> dict[str, Any]:
        chosen = _pseudo_folder.choose(crystal.elements, level.xc)
        waves, density = _cutoffs_ry(level, chosen.values())
        return {
            "cutoff_ry": round(waves, 4),
            "density_cutoff_ry": round(density, 4),
            "files": {element: one.path.name for element, one in chosen.items()},
            "suggested_cutoff_ry": {element: one.cutoff_ry or None for element, one in chosen.items()},
            "below_suggested_cutoff": [element for element, one in chosen.items() if one.cutoff_ry > waves + 1e-6],
        }

    def calculator(self, crystal: Crystal, level: Level, log: Path, *, remedy: str = "", **overrides: Any) -> Pwscf:
        """``overrides``: ``kpts={"size": ...}`` of a Gamma-centred grid, and ``spinpol``, as for GPAW."""
        from ase.units import Ry

        from materia.simulation.engines._pwscf import Pwscf, Setup

        chosen = _pseudo_folder.choose(crystal.elements, level.xc)
        waves, density = _cutoffs_ry(level, chosen.values())
        system: dict[str, Any] = {"ecutwfc": waves, "ecutrho": density, "occupations": "fixed"}
        if level.smearing_ev > 0:
            system |= {"occupations": "smearing", "smearing": "fermi-dirac", "degauss": level.smearing_ev / Ry}
        if overrides.pop("spinpol", False):
            system["nspin"] = 2
        size = overrides.pop("kpts", {}).get("size") or grid_size(crystal, level.kpoint_density)
        if overrides:
            raise TypeError(f"pw.x takes no {', '.join(overrides)}")
        gamma, shared = set(size) == {1}, ranks_wanted() > 1
        electrons: dict[str, Any] = {"conv_thr": CONVERGENCE_RY * crystal.n_atoms, "diago_full_acc": True}
        setup = Setup(
            namelists={"system": system, "electrons": electrons | (STEADY if remedy == MIXING else {})},
            pseudopotentials=chosen,
            kpoints=None if gamma else (size[0], size[1], size[2]),
            n_kpoints=irreducible_kpoints(crystal, level.kpoint_density, size) if shared and not gamma else 1,
        )
        return Pwscf(setup, log)

    def bands(self, atoms: Atoms, level: Level, log: Path) -> Bands:
        solved = atoms.calc.solution
        n_occupied = round(solved.n_electrons) // 2
        kpoints = np.asarray(atoms.cell.bandpath(density=level.path_density).kpts)
        along = atoms.calc.bands(kpoints, n_occupied + 4, log)
        some = slice(n_occupied + 1)
        return Bands(n_occupied, solved.kpoints, solved.eigenvalues[:, some], kpoints, along.eigenvalues[:, some])

    def response(self, atoms: Atoms, log: Path) -> Response:
        found: Response = atoms.calc.response(atoms, log)
        return found

    def classify(self, error: BaseException) -> Failure:
        return ordinary_failure(error)

    def remedy(self, reason: Reason) -> str | None:
        return {Reason.NOT_CONVERGED: MIXING}.get(reason)

    def versions(self) -> dict[str, str]:
        from materia.simulation.engines import _pwscf

        return {"espresso": _pwscf.program().version} | {name: version(name) for name in ("ase", "numpy", "scipy")}


@cache
def _valence(folder: Path, element: str, xc: str) -> float:
    """Asked for every candidate of a pool, so the folder is looked through once."""
    return _pseudo_folder.choose([element], xc)[element].upf.valence


def _cutoffs_ry(level: Level, chosen: Collection[Pseudopotential]) -> tuple[float, float]:
    """Cutoffs of wave functions and density, Ry: the level's own, whatever the files suggest, since energies are only
    comparable at one; that of the density as high as their kind, or one of them, asks for."""
    from ase.units import Ry

    waves = level.cutoff_ev / Ry
    dual = DUAL_NORM_CONSERVING if all(one.upf.norm_conserving for one in chosen) else DUAL_AUGMENTED
    return waves, max([dual * waves, *(one.density_cutoff_ry for one in chosen)])
