"""Energies of the elements that formation energies are counted from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from materia.crystal import Crystal
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import Level
from materia.simulation.engines import Engine

UNPAIRED = {"O2": 2}  # triplet oxygen; the other boxed molecules are closed-shell


def static(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """Total energy at a fixed cell.

    Returns:
        ``energy_per_atom`` (eV), ``volume_per_atom`` (Å³).
    """
    atoms = crystal.to_ase()
    atoms.calc = engine.calculator(crystal, level, folder / "scf.txt", remedy=remedy)
    return {
        "energy_per_atom": float(atoms.get_potential_energy()) / len(atoms),
        "volume_per_atom": crystal.volume / crystal.n_atoms,
    }


def molecule(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """A molecule in its box: positions relaxed at the Gamma point, spin by Hund's rule.

    Returns:
        ``structure``, ``energy_per_atom`` (eV), ``max_force`` (eV/Å), ``n_steps``.

    Raises:
        Failure: the steps were used up.
    """
    from ase.optimize import BFGS

    atoms = crystal.to_ase()
    unpaired = UNPAIRED.get(str(atoms.symbols), 0)
    spin: dict[str, Any] = {"spinpol": unpaired > 0}
    if unpaired:
        atoms.set_initial_magnetic_moments([unpaired / len(atoms)] * len(atoms))
    atoms.calc = engine.calculator(
        crystal, level, folder / "relax.txt", remedy=remedy, kpts={"size": (1, 1, 1)}, **spin
    )
    optimiser = BFGS(atoms, logfile=str(folder / "relax.log"))
    if not optimiser.run(fmax=level.force_tolerance, steps=60):
        raise Failure(Reason.RELAXATION_UNFINISHED, "60 steps did not relax the molecule")
    return {
        "structure": Crystal.from_ase(atoms).to_record(),
        "energy_per_atom": float(atoms.get_potential_energy()) / len(atoms),
        "max_force": float(np.abs(atoms.get_forces()).max()),
        "n_steps": int(optimiser.nsteps),
    }
