"""What a plane-wave calculation will cost, from numbers known before it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from materia.crystal import Crystal
from materia.simulation._kpoints import grid_size, irreducible_kpoints
from materia.simulation._levels import Level
from materia.simulation._supercell import supercell

# Peak MB = the program + so many times all wave functions. Peaks of twelve relaxations and gaps at level standard, with
# 4 to 30 MB of wave functions, lie at 0.85 to 1.28 of it (experiments/cost/memory.py).
PROGRAM_MB, COPIES = 150.0, 8
# Exchange keeps the occupied states of the whole zone on the real-space grid. Peaks of HSE06 with spin-orbit coupling
# for six crystals (1.0 to 3.5 GB; tests/simulation/test_jobs.py) are 0.92 to 1.10 of the expectation with so many
# numbers a plane wave.
EXCHANGE, GRID = ("hybrid", "hybrid_spin_orbit"), 10
SPARE_MB = 1350  # so that the program has 1500 MB beside the wave functions
HARTREE_BOHR = 27.211386 * 0.529177**2  # eV Å²: kinetic energy is HARTREE_BOHR/2 k²

# CPU seconds = a + n_k (b + c n_b n_w ln n_w + d n_b² n_w) for n_k k-points, n_b bands and n_w plane waves: set-up,
# work per k-point, Fourier transforms, subspace algebra. Fitted by experiments/cost/run.py to the project's own dataset
# (mean error 30 % for relaxations, whose steps cannot be known, 16 % for gaps); other machines differ by a factor.
_COEFFICIENTS = {
    "relax": (0.0, 0.224, 7.78e-7, 1.67e-6),
    "gap": (5.5, 0.0, 0.0, 2.0e-6),
    "static": (3.0, 0.0, 0.0, 1.0e-6),  # half a gap: no band path
    # A gap and more: bands at as many k-points again (spin_orbit), at one to four times 53 (masses), exchange with the
    # occupied states of the whole zone at six to eight points (hybrid). By two or three crystals each, of two atoms and
    # 8 or 18 electrons: Si, C, BeTe, InP, ZnS, ZnTe (15 to 62 s, most within 35 %).
    # hybrid_spin_orbit takes 1.2 times hybrid (ZnTe, PbTe): Si, BeTe, InP, ZnS, ZnTe 31 to 74 s, 0.7 to 1.07 of this;
    # PbTe 40 s, 0.54 of it.
    # dielectric, by pw.x and ph.x: Si 148 s and SiC 137 s on a machine half as fast, 0.59 and 0.50 of that are given.
    # dielectric_rpa: Si 131 s on a machine half as fast.
    "spin_orbit": (18.0, 0.0, 0.0, 3.0e-6),
    "masses": (30.0, 0.0, 0.0, 2.0e-6),
    "hybrid": (20.0, 0.0, 0.0, 4.0e-6),
    "hybrid_spin_orbit": (22.0, 0.0, 0.0, 4.5e-6),
    "gllbsc": (6.5, 0.0, 0.0, 2.2e-6),
    "dielectric": (6.5, 0.0, 0.0, 2.0e-5),
    "dielectric_rpa": (6.5, 0.0, 0.0, 2.0e-5),
    "molecule": (10.0, 0.0, 0.0, 2.0e-6),  # a dozen steps; N2, O2, four halogens and S8: 0.4 to 2.3 of it
}
GAMMA_ALONE = ("molecule",)  # recipes that compute at one k-point, whatever the level's density


# CPU seconds of a potential = a + b n for n atoms of the cell, or of the supercell that is rattled: start of the
# program, and work; peak MB likewise. As seen with CHGNet 0.4 on crystals of 1 to 5 atoms (docs/engines.md); other
# potentials differ by orders of magnitude.
_POTENTIAL = {"static": (3.0, 0.05), "relax": (3.0, 0.1), "distorts": (3.0, 0.2)}
_POTENTIAL_MB = (500.0, 14.0)


def cost_features(crystal: Crystal, level: Level, n_electrons: int) -> dict[str, float]:
    """Size of the calculation: atoms, electrons, k-points (irreducible, and of the whole zone), plane waves; of a
    potential, atoms, also of a supercell."""
    if level.potential is not None:
        return {
            "n_atoms": float(crystal.n_atoms),
            "n_supercell": float(crystal.n_atoms * math.prod(supercell(crystal))),
        }
    wave_vector = math.sqrt(2 * level.cutoff_ev / HARTREE_BOHR)
    return {
        "n_atoms": float(crystal.n_atoms),
        "n_electrons": float(n_electrons),
        "n_kpoints": float(irreducible_kpoints(crystal, level.kpoint_density)),
        "n_kpoints_zone": float(math.prod(grid_size(crystal, level.kpoint_density))),
        "n_planewaves": crystal.volume * wave_vector**3 / (6 * math.pi**2),
    }


def estimate_seconds(recipe_name: str, features: Mapping[str, float]) -> float:
    """CPU seconds a recipe is expected to take."""
    if "n_planewaves" not in features:
        fixed, per_atom = _POTENTIAL[recipe_name]
        return fixed + per_atom * features["n_supercell" if recipe_name == "distorts" else "n_atoms"]
    bands = features["n_electrons"] / 2 + 4
    waves, kpoints = features["n_planewaves"], _kpoints(recipe_name, features)
    fixed, per_kpoint, transforms, algebra = _COEFFICIENTS[recipe_name]
    each = per_kpoint + transforms * bands * waves * math.log(waves) + algebra * bands**2 * waves
    return fixed + kpoints * each


def _kpoints(recipe_name: str, features: Mapping[str, float]) -> float:
    return 1.0 if recipe_name in GAMMA_ALONE else features["n_kpoints"]


def estimate_memory_mb(recipe_name: str, features: Mapping[str, float], ranks: int = 1) -> float:
    """Peak memory a job is expected to have, MB: the program and so many wave functions of 16 bytes a coefficient.

    Of all its ranks together: each holds the program, and its share of the wave functions; with exchange also its share
    of those of the whole zone. A potential has none.
    """
    if "n_planewaves" not in features:
        return _POTENTIAL_MB[0] + _POTENTIAL_MB[1] * features["n_supercell"]
    bands = features["n_electrons"] / 2 + 4
    coefficients = COPIES * bands * features["n_planewaves"] * _kpoints(recipe_name, features)
    if recipe_name in EXCHANGE:
        coefficients += GRID * features["n_electrons"] / 2 * features["n_planewaves"] * features["n_kpoints_zone"]
    return ranks * PROGRAM_MB + 16 * coefficients / 1e6


def cautious_memory_mb(recipe_name: str, features: Mapping[str, float], ranks: int = 1) -> int:
    """Memory to ask for, MB, while nothing is known of other jobs."""
    return math.ceil(estimate_memory_mb(recipe_name, features, ranks)) + SPARE_MB
