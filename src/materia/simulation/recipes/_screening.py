"""The dielectric tensor of the electrons in the random-phase approximation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from materia.crystal import Crystal
from materia.simulation._kpoints import shifted_kpoints
from materia.simulation._levels import Level
from materia.simulation.engines import Engine
from materia.simulation.recipes._beyond import beyond
from materia.simulation.recipes._gap import gap_from_bands, ground_state

CUTOFF_EV = 60.0  # of local fields, and of the empty bands: as many as a free electron has states below it
HARTREE_BOHR = 27.211386 * 0.529177**2  # eV Å²: kinetic energy is HARTREE_BOHR/2 k²


def dielectric_rpa(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """The PBE gap, and for a crystal that has one the dielectric tensor of its electrons with the atoms held.

    In the random-phase approximation on PBE's states, with local fields: electrons answer the mean field of the others
    but not their exchange and correlation, which perturbation theory with PBE includes (2 % more in SiC, 7 % in Si).
    PBE's gaps are too small, and so the constants too large.

    Returns:
        ``energy_per_atom`` (eV), everything of :func:`gap_from_bands` and, where it is no metal, ``dielectric_rpa``
        (3x3, Cartesian), its mean over directions ``dielectric_electronic_rpa``, ``dielectric_independent`` (3x3,
        without local fields), ``n_kpoints_rpa`` (of the whole zone) and ``n_empty_rpa`` (bands).
    """
    energy, atoms, bands = ground_state(crystal, level, engine, folder, remedy)
    found = {"energy_per_atom": energy, **gap_from_bands(bands)}
    if found["is_metal"]:
        return found
    kpoints, n_empty = shifted_kpoints(crystal, level.kpoint_density), empty_bands(crystal.volume)
    log = folder / "screening.txt"
    without, screened = beyond(engine).screening(atoms, kpoints, CUTOFF_EV, n_empty, log)
    return {
        **found,
        "dielectric_rpa": screened.tolist(),
        "dielectric_electronic_rpa": float(np.trace(screened) / 3),
        "dielectric_independent": without.tolist(),
        "n_kpoints_rpa": len(kpoints),
        "n_empty_rpa": n_empty,
    }


def empty_bands(volume: float) -> int:
    """States of a free electron below the cutoff in a cell of that volume (Å³), spins paired; at least eight."""
    wave_vector = math.sqrt(2 * CUTOFF_EV / HARTREE_BOHR)
    return max(8, math.ceil(volume * wave_vector**3 / (6 * math.pi**2)))
