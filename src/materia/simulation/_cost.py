"""What a plane-wave calculation will cost, from numbers known before it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from materia.crystal import Crystal
from materia.simulation._kpoints import irreducible_kpoints
from materia.simulation._levels import Level

HARTREE_BOHR = 27.211386 * 0.529177**2  # eV Å²: kinetic energy is HARTREE_BOHR/2 k²

# Fitted by experiments/cost/run.py to the CPU seconds of the project's own dataset; the terms are those of
# a plane-wave code: set-up, Fourier transforms per band and k-point, subspace algebra. Other machines differ
# by a factor that a campaign learns from its own finished jobs.
_FIXED_S = 2.0
_PER_TRANSFORM = 2.4e-7
_PER_ALGEBRA = 1.0e-9
_SELF_CONSISTENCIES = {"relax": 6.0, "gap": 2.5, "static": 1.0, "molecule": 8.0}


def cost_features(crystal: Crystal, level: Level, n_electrons: int) -> dict[str, float]:
    """Size of the calculation: atoms, electrons, k-points, plane waves."""
    wave_vector = math.sqrt(2 * level.cutoff_ev / HARTREE_BOHR)
    return {
        "n_atoms": float(crystal.n_atoms),
        "n_electrons": float(n_electrons),
        "n_kpoints": float(irreducible_kpoints(crystal, level.kpoint_density)),
        "n_planewaves": crystal.volume * wave_vector**3 / (6 * math.pi**2),
    }


def estimate_seconds(recipe_name: str, features: Mapping[str, float]) -> float:
    """CPU seconds a recipe is expected to take."""
    bands = features["n_electrons"] / 2 + 4
    waves, kpoints = features["n_planewaves"], features["n_kpoints"]
    once = _FIXED_S + kpoints * (_PER_TRANSFORM * bands * waves * math.log(waves) + _PER_ALGEBRA * bands**2 * waves)
    return _SELF_CONSISTENCIES[recipe_name] * once


def estimate_memory_mb(features: Mapping[str, float]) -> int:
    """Memory to ask for, MB: the program, and four copies of all wave functions at 16 bytes a coefficient."""
    bands = features["n_electrons"] / 2 + 4
    coefficients = bands * features["n_planewaves"] * features["n_kpoints"]
    return 1500 + math.ceil(4 * 16 * coefficients / 1e6)
