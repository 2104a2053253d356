"""Relax cell and positions, keeping the symmetry the structure came with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from materia.crystal import Crystal, prototype_label, validate
from materia.errors import StructureError
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import Level
from materia.simulation.engines import Engine

MAX_STEPS = 40
MAX_STEPS_POTENTIAL = 400
MAX_VOLUME_CHANGE = 2.0  # factor either way; beyond it the starting guess was not this phase
MAX_FALL = 10.0  # eV/atom; no crystal is bound more strongly (W: 8.9, Kittel, Introduction to Solid State Physics)
EV_PER_A3_IN_GPA = 160.21766208
SYMPREC = 1e-3  # Å
BULK_MODULUS, HESSIAN = 0.5, 70.0  # eV/Å³ of a typical crystal, eV/Å² where ASE's BFGS begins


def relax(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """Minimise the energy over the cell and the positions with BFGS.

    The basis is rebuilt at the level's cutoff for every cell, so no second run at the final cell is needed;
    the Pulay stress left at that cutoff is part of the level's stated error. Solved geometries are kept in
    ``folder/checkpoint.json``: a later attempt does not solve them again. DFT keeps the symmetry by itself; what a
    potential gives, often in single precision, is symmetrised.

    Returns:
        ``structure`` (record of the relaxed crystal), ``energy_per_atom`` (eV), ``max_force`` (eV/Å),
        ``max_stress`` (GPa), ``volume_per_atom`` (Å³), ``volume_ratio``, ``n_steps``, ``prototype_kept``.

    Raises:
        Failure: the geometry exploded, or the steps were used up.
    """
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    from materia.simulation._checkpoint import Remembering

    atoms = crystal.to_ase()
    calculator = engine.calculator(crystal, level, folder / "relax.txt", remedy=remedy)
    atoms.calc = Remembering(calculator, folder, writes=engine.world().rank == 0)
    if not engine.electrons:
        atoms.set_constraint(FixSymmetry(atoms, symprec=SYMPREC))
    most = MAX_STEPS if engine.electrons else MAX_STEPS_POTENTIAL
    cell = FrechetCellFilter(atoms, exp_cell_factor=cell_scale(crystal.volume))
    optimiser = BFGS(cell, logfile=str(folder / "relax.log"))
    start = None
    for _ in optimiser.irun(fmax=0.0, steps=most):
        ratio = atoms.get_volume() / crystal.volume
        require_whole(ratio)
        force = float(np.abs(atoms.get_forces()).max())
        stress = float(np.abs(atoms.get_stress()).max() * EV_PER_A3_IN_GPA)
        energy = float(atoms.get_potential_energy()) / len(atoms)
        start = energy if start is None else start
        require_bound(force + stress + energy, start - energy)
        if force < level.force_tolerance and stress < level.stress_tolerance:
            break
    else:
        raise Failure(
            Reason.RELAXATION_UNFINISHED,
            f"{most} steps left a force of {force:.3f} eV/Å and a stress of {stress:.2f} GPa",
        )
    relaxed = Crystal.from_ase(atoms)
    require_apart(relaxed)
    return {
        "structure": relaxed.to_record(),
        "energy_per_atom": energy,
        "max_force": force,
        "max_stress": stress,
        "volume_per_atom": relaxed.volume / relaxed.n_atoms,
        "volume_ratio": float(ratio),
        "n_steps": int(optimiser.nsteps),
        "prototype_kept": prototype_label(relaxed, 0.05) == prototype_label(crystal, 0.05),
    }


def cell_scale(volume: float) -> float:
    """What makes the cell as stiff for BFGS as positions are, Å: a typical bulk modulus meets its first Hessian.
    Without it the first steps of a small cell are several times too short."""
    return float(np.sqrt(3 * BULK_MODULUS * volume / HESSIAN))


def require_whole(volume_ratio: float) -> None:
    """
    Raises:
        Failure: the volume changed by more than a factor, or is no number any more.
    """
    if not 1 / MAX_VOLUME_CHANGE < volume_ratio < MAX_VOLUME_CHANGE:
        raise Failure(Reason.GEOMETRY_EXPLODED, f"the volume changed by a factor {volume_ratio:.2f} on relaxation")


def require_bound(total: float, fall: float) -> None:
    """
    Args:
        total: a sum that is finite where energy, forces and stress are.
        fall: of the energy since the start, eV/atom.

    Raises:
        Failure: energy, forces or stress are no numbers, or the energy fell into a hole that no crystal has.
    """
    if not np.isfinite(total):
        raise Failure(Reason.GEOMETRY_EXPLODED, "energy, forces or stress are no longer numbers")
    if fall > MAX_FALL:
        raise Failure(Reason.GEOMETRY_EXPLODED, f"the energy fell by {fall:.1f} eV/atom on relaxation")


def require_apart(crystal: Crystal) -> None:
    """
    Raises:
        Failure: relaxation pushed atoms into each other.
    """
    try:
        validate(crystal)
    except StructureError as error:
        raise Failure(Reason.GEOMETRY_EXPLODED, f"after relaxation, {error.what}") from error
