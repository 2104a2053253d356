"""Total energy and band gap at a fixed cell: electrons counted, grid and band path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from materia.crystal import Crystal
from materia.simulation._levels import Level
from materia.simulation.engines import Bands, Engine

if TYPE_CHECKING:
    from ase import Atoms


def gap(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """Self-consistent energy, then eigenvalues along the standard band path.

    Returns:
        ``energy_per_atom`` (eV) and everything of :func:`gap_from_bands`.
    """
    energy, _, bands = ground_state(crystal, level, engine, folder, remedy)
    return {"energy_per_atom": energy, **gap_from_bands(bands)}


def ground_state(
    crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str
) -> tuple[float, Atoms, Bands]:
    """(eV/atom, atoms with their converged state, bands on grid and path)."""
    atoms = crystal.to_ase()
    atoms.calc = engine.calculator(crystal, level, folder / "scf.txt", remedy=remedy)
    energy = float(atoms.get_potential_energy()) / len(atoms)
    return energy, atoms, engine.bands(atoms, level, folder / "bands.txt")


def gap_from_bands(bands: Bands) -> dict[str, Any]:
    """The gap of a closed-shell crystal from counted electrons, never from the Fermi level.

    The valence edge is the largest eigenvalue of band ``n_occupied`` over all k-points of grid and path, the
    conduction edge the smallest of the next band. Where they overlap the crystal is a (semi)metal: the
    gap is 0 and ``overlap`` says by how much.

    Returns:
        ``gap_pbe`` and ``gap_direct_pbe`` (eV, >= 0), ``overlap`` (eV, >= 0), ``is_metal``, ``is_direct``,
        ``vbm_kpoint``, ``cbm_kpoint`` (fractional), ``grid_gap`` (eV: the grid alone, may be negative).
    """
    n = bands.n_occupied
    kpoints = np.vstack([bands.grid_kpoints, bands.path_kpoints])
    valence = np.concatenate([bands.grid[:, n - 1], bands.path[:, n - 1]])
    conduction = np.concatenate([bands.grid[:, n], bands.path[:, n]])
    vbm, cbm = int(valence.argmax()), int(conduction.argmin())
    indirect = float(conduction[cbm] - valence[vbm])
    direct = float((conduction - valence).min())
    metal = indirect <= 0.0
    return {
        "gap_pbe": max(indirect, 0.0),
        "gap_direct_pbe": 0.0 if metal else direct,
        "overlap": max(-indirect, 0.0),
        "is_metal": metal,
        "is_direct": (not metal) and direct - indirect < 1e-3,
        "vbm_kpoint": kpoints[vbm].round(6).tolist(),
        "cbm_kpoint": kpoints[cbm].round(6).tolist(),
        "grid_gap": float(bands.grid[:, n].min() - bands.grid[:, n - 1].max()),
    }
