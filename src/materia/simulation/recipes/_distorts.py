"""Whether a crystal is held together by its symmetry alone: rattle a supercell, relax it, see whether it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, prototype_label, symmetry_of
from materia.simulation._failures import Failure, Reason
from materia.simulation._keys import key_with
from materia.simulation._levels import Level
from materia.simulation._supercell import supercell
from materia.simulation.engines import Engine
from materia.simulation.recipes._reference import static
from materia.simulation.recipes._relax import (
    EV_PER_A3_IN_GPA,
    MAX_STEPS_POTENTIAL,
    cell_scale,
    relax,
    require_apart,
    require_bound,
    require_whole,
)

if TYPE_CHECKING:
    from ase import Atoms

THRESHOLD = 0.005  # eV/atom: a fall by more is a distortion, a smaller one the noise of potential and relaxation
RATTLE = 0.05  # Å, standard deviation of each coordinate
STRAIN = 0.005  # standard deviation of each component
SYMPRECS = (0.4, 0.2, 0.1, 0.05, 0.01)  # Å
SAME_ENERGY = 0.0005  # eV/atom, a tenth of the threshold


def distorts(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """Does a rattled supercell, relaxed without symmetry, fall by more than 5 meV/atom below the relaxed crystal?

    The parent is the crystal relaxed with its symmetry kept, at the same level: at once where it is relaxed already.
    Displacements and strain are random numbers seeded by the job's key, so that a repetition finds the same.

    Returns:
        ``distorts``; ``distortion_energy`` (eV/atom, positive: the energy falls; where the steps were used up on the
        way down, what it had fallen by then, and ``child_relaxed`` is false); ``supercell`` (3 multiples),
        ``parent_prototype``, ``n_steps``. Where it distorts moreover ``child`` (record of the distorted structure,
        reduced to its primitive cell and symmetry), ``child_prototype``, ``child_energy_per_atom`` (eV).

    Raises:
        Failure: the geometry exploded, or the steps were used up before anything could be told.
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    relaxed = relax(crystal, level, engine, folder, remedy)
    parent, reference = Crystal.from_record(relaxed["structure"]), float(relaxed["energy_per_atom"])
    size = supercell(parent)

    def energy_of(one: Crystal) -> float:
        return float(static(one, level, engine, folder, remedy)["energy_per_atom"])

    seed = int(key_with("distorts", crystal, level, engine), 16)
    atoms = _rattled(parent, size, np.random.default_rng(seed))
    atoms.calc = engine.calculator(parent, level, folder / "distorts.txt", remedy=remedy)
    volume = parent.volume * float(np.prod(size))
    cell = FrechetCellFilter(atoms, exp_cell_factor=cell_scale(volume))
    optimiser = BFGS(cell, logfile=str(folder / "distorts.log"))
    arrived = False
    for _ in optimiser.irun(fmax=0.0, steps=MAX_STEPS_POTENTIAL):
        require_whole(atoms.get_volume() / volume)
        force = float(np.abs(atoms.get_forces()).max())
        stress = float(np.abs(atoms.get_stress()).max() * EV_PER_A3_IN_GPA)
        energy = float(atoms.get_potential_energy()) / len(atoms)
        require_bound(force + stress + energy, reference - energy)
        arrived = force < level.force_tolerance and stress < level.stress_tolerance
        if arrived:
            break
    fall = reference - energy
    if not arrived and fall <= THRESHOLD:
        raise Failure(
            Reason.RELAXATION_UNFINISHED,
            f"{MAX_STEPS_POTENTIAL} steps of the rattled supercell left a force of {force:.3f} eV/Å",
        )
    found = {
        "distorts": fall > THRESHOLD,
        "distortion_energy": fall,
        "child_relaxed": arrived,
        "supercell": list(size),
        "parent_prototype": prototype_label(parent),
        "n_steps": int(optimiser.nsteps),
    }
    if fall <= THRESHOLD:
        return found
    distorted = Crystal.from_ase(atoms)
    require_apart(distorted)
    child, child_energy = _reduced(distorted, energy, energy_of)
    return {
        **found,
        "child": child.to_record(),
        "child_prototype": prototype_label(child),
        "child_energy_per_atom": child_energy,
    }


def _reduced(distorted: Crystal, energy: float, energy_of: Callable[[Crystal], float]) -> tuple[Crystal, float]:
    """The primitive cell in the highest symmetry that costs no energy, and its energy per atom.

    What relaxation leaves of the rattling along soft modes is larger than any one tolerance that would keep true
    distortions apart. So spglib symmetrises the structure at falling tolerances, and the first result that has the
    energy is taken.

    Args:
        distorted: as relaxed.
        energy: its energy, eV/atom.
        energy_of: eV/atom of a crystal at its level.
    """
    cell = (distorted.lattice, distorted.frac_coords, distorted.numbers)
    for symprec in SYMPRECS:
        found = symmetry_of("standardize_cell", cell, to_primitive=True, no_idealize=False, symprec=symprec)
        if found is None:
            continue
        lattice, positions, numbers = found
        symmetric = Crystal(lattice, numbers, positions)
        reached = energy_of(symmetric)
        if reached < energy + SAME_ENERGY:
            return symmetric, reached
    return distorted, energy


def _rattled(parent: Crystal, size: tuple[int, int, int], rng: np.random.Generator) -> Atoms:
    atoms = parent.to_ase().repeat(size)
    strain: NDArray[np.float64] = rng.normal(0.0, STRAIN, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += rng.normal(0.0, RATTLE, (len(atoms), 3))
    return atoms
