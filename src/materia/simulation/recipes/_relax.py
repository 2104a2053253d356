"""Relax cell and positions, keeping the symmetry the structure came with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from materia.crystal import Crystal, prototype_label
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import Level
from materia.simulation.engines import Engine

MAX_STEPS = 40
MAX_VOLUME_CHANGE = 2.0  # factor either way; beyond it the starting guess was not this phase
EV_PER_A3_IN_GPA = 160.21766208


def relax(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """Minimise the energy over the cell and the positions with BFGS.

    The basis is rebuilt at the level's cutoff for every cell, so no second run at the final cell is needed;
    the Pulay stress left at that cutoff is part of the level's stated error. Solved geometries are kept in
    ``folder/checkpoint.json``: a later attempt does not solve them again.

    Returns:
        ``structure`` (record of the relaxed crystal), ``energy_per_atom`` (eV), ``max_force`` (eV/Å),
        ``max_stress`` (GPa), ``volume_per_atom`` (Å³), ``volume_ratio``, ``n_steps``, ``prototype_kept``.

    Raises:
        Failure: the geometry exploded, or the steps were used up.
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    from materia.simulation._checkpoint import Remembering

    atoms = crystal.to_ase()
    calculator = engine.calculator(crystal, level, folder / "relax.txt", remedy=remedy)
    atoms.calc = Remembering(calculator, folder, writes=engine.world().rank == 0)
    # Scales the cell's degrees of freedom so that a typical bulk modulus (0.5 eV/Å³) meets BFGS's initial
    # Hessian (70 eV/Å²): without it the first steps of a small cell are several times too short.
    scale = float(np.sqrt(1.5 * crystal.volume / 70.0))
    optimiser = BFGS(FrechetCellFilter(atoms, exp_cell_factor=scale), logfile=str(folder / "relax.log"))
    for _ in optimiser.irun(fmax=0.0, steps=MAX_STEPS):
        ratio = atoms.get_volume() / crystal.volume
        if not 1 / MAX_VOLUME_CHANGE < ratio < MAX_VOLUME_CHANGE:
            raise Failure(Reason.GEOMETRY_EXPLODED, f"the volume changed by a factor {ratio:.2f} on relaxation")
        force = float(np.abs(atoms.get_forces()).max())
        stress = float(np.abs(atoms.get_stress()).max() * EV_PER_A3_IN_GPA)
        if force < level.force_tolerance and stress < level.stress_tolerance:
            break
    else:
        raise Failure(
            Reason.RELAXATION_UNFINISHED,
            f"{MAX_STEPS} steps left a force of {force:.3f} eV/Å and a stress of {stress:.2f} GPa",
        )
    relaxed = Crystal.from_ase(atoms)
    return {
        "structure": relaxed.to_record(),
        "energy_per_atom": float(atoms.get_potential_energy()) / len(atoms),
        "max_force": force,
        "max_stress": stress,
        "volume_per_atom": relaxed.volume / relaxed.n_atoms,
        "volume_ratio": float(ratio),
        "n_steps": int(optimiser.nsteps),
        "prototype_kept": prototype_label(relaxed, 0.05) == prototype_label(crystal, 0.05),
    }
