"""Gaps beyond PBE: spin-orbit coupling, HSE06, and both on a PBE state; GLLB-SC with its derivative discontinuity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import Level
from materia.simulation.engines import Bands, BeyondPBE, Engine
from materia.simulation.recipes._gap import gap_from_bands, ground_state
from materia.simulation.recipes._needs import level_for

if TYPE_CHECKING:
    from ase import Atoms


def spin_orbit(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """The PBE gap with spin-orbit coupling, on grid and band path; not self-consistent.

    Returns:
        ``energy_per_atom`` (eV), everything of :func:`gap_from_bands` (without the coupling), and with it
        ``gap_pbe_soc`` and ``gap_direct_pbe_soc`` (eV), ``overlap_soc``, ``is_metal_soc``, ``vbm_kpoint_soc``,
        ``cbm_kpoint_soc``, ``spin_orbit_shift`` (eV: how much the band edges came together; where one of the gaps is
        closed, their overlap counts as a negative gap), ``valence_splitting`` (eV: highest pair of states at the
        valence edge above the third pair at the same point, what a p shell splits by).
    """
    energy, atoms, bands = ground_state(crystal, level, engine, folder, remedy)
    without = gap_from_bands(bands)
    kpoints = np.vstack([bands.grid_kpoints, bands.path_kpoints])
    spinors = beyond(engine).spin_orbit(atoms, kpoints, folder / "spin_orbit.txt")
    n_grid, n_electrons = len(bands.grid_kpoints), 2 * bands.n_occupied
    found = gap_from_bands(
        Bands(n_electrons, bands.grid_kpoints, spinors[:n_grid], bands.path_kpoints, spinors[n_grid:])
    )
    top = spinors[spinors[:, n_electrons - 1].argmax()]
    shift = (without["gap_pbe"] - without["overlap"]) - (found["gap_pbe"] - found["overlap"])
    split = {"valence_splitting": float(top[n_electrons - 1] - top[n_electrons - 5])} if n_electrons > 4 else {}
    return {
        "energy_per_atom": energy,
        **without,
        "gap_pbe_soc": found["gap_pbe"],
        "gap_direct_pbe_soc": found["gap_direct_pbe"],
        "overlap_soc": found["overlap"],
        "is_metal_soc": found["is_metal"],
        "vbm_kpoint_soc": found["vbm_kpoint"],
        "cbm_kpoint_soc": found["cbm_kpoint"],
        "spin_orbit_shift": shift,
        **split,
    }


def hybrid(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """HSE06 eigenvalues in the orbitals of the PBE state, at PBE's band edges and the special points of the path.

    Not self-consistent, and not everywhere in the zone: where HSE06 has its band edges at other points than these, the
    gap is too large. At each point the three highest occupied bands and the lowest empty one are put in order anew. Yet
    what PBE fills is exchanged as filled: where PBE has inverted bands, HSE06 in its orbitals may leave the gap closed
    (InAs: 0.09 eV are missing).

    Returns:
        ``energy_per_atom`` (eV), everything of :func:`gap_from_bands` (PBE), ``gap_hse06_on_pbe`` (eV, 0: closed),
        ``overlap_hse06``, ``shift_valence`` and ``shift_conduction`` (eV: HSE06 less PBE at PBE's band edges),
        ``vbm_kpoint_hse06``, ``cbm_kpoint_hse06``, ``n_kpoints_hse06``.
    """
    energy, atoms, bands = ground_state(crystal, level, engine, folder, remedy)
    found = gap_from_bands(bands)
    kpoints, at_conduction = telling_points(atoms, found)
    pbe, hse = beyond(engine).hybrid(atoms, kpoints, folder / "hybrid.txt")
    return {"energy_per_atom": energy, **found, **_hse06(kpoints, at_conduction, pbe, hse)}


def hybrid_spin_orbit(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """:func:`hybrid`, and on top of it spin-orbit coupling, all from one ground state and at the same points.

    The coupling is diagonalised in PBE's states at their HSE06 energies, among them those of three empty bands. It may
    move the band edges to points that are none of these; then the gap is too large.

    Returns:
        Everything of :func:`hybrid`, and ``gap_hse06_soc_on_pbe`` (eV, 0: closed), ``overlap_hse06_soc``,
        ``vbm_kpoint_hse06_soc``, ``cbm_kpoint_hse06_soc``, ``spin_orbit_shift_hse06`` (eV: how much the band edges of
        :func:`hybrid` came together; an overlap counts as a negative gap).
    """
    energy, atoms, bands = ground_state(crystal, level, engine, folder, remedy)
    found = gap_from_bands(bands)
    kpoints, at_conduction = telling_points(atoms, found)
    pbe, hse, spinors = beyond(engine).hybrid_spin_orbit(atoms, kpoints, folder / "hybrid_spin_orbit.txt")
    without = _hse06(kpoints, at_conduction, pbe, hse)
    n_electrons = 2 * bands.n_occupied
    coupled = _edges("hse06_soc", kpoints, spinors[:, n_electrons - 1], spinors[:, n_electrons])
    apart = without["gap_hse06_on_pbe"] - without["overlap_hse06"]
    apart_coupled = coupled["gap_hse06_soc_on_pbe"] - coupled["overlap_hse06_soc"]
    return {
        "energy_per_atom": energy,
        **found,
        **without,
        **coupled,
        "spin_orbit_shift_hse06": apart - apart_coupled,
    }


def _hse06(
    kpoints: NDArray[np.float64], at_conduction: int, pbe: NDArray[np.float64], hse: NDArray[np.float64]
) -> dict[str, Any]:
    """What HSE06 makes of PBE's bands; the lowest empty band is the last one."""
    ordered = np.sort(hse, axis=1)
    return {
        **_edges("hse06", kpoints, ordered[:, -2], ordered[:, -1]),
        "shift_valence": float((hse - pbe)[0, -2]),
        "shift_conduction": float((hse - pbe)[at_conduction, -1]),
        "n_kpoints_hse06": len(kpoints),
    }


def _edges(
    name: str, kpoints: NDArray[np.float64], valence: NDArray[np.float64], conduction: NDArray[np.float64]
) -> dict[str, Any]:
    """Gap, overlap and the points of the edges, of the highest filled and the lowest empty energy at each point."""
    top, bottom = int(valence.argmax()), int(conduction.argmin())
    difference = float(conduction[bottom] - valence[top])
    return {
        f"gap_{name}_on_pbe": max(difference, 0.0),
        f"overlap_{name}": max(-difference, 0.0),
        f"vbm_kpoint_{name}": kpoints[top].round(6).tolist(),
        f"cbm_kpoint_{name}": kpoints[bottom].round(6).tolist(),
    }


def gllbsc(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """Self-consistent GLLB-SC with its own PAW sets: the gap of its eigenvalues, plus the derivative discontinuity.

    Returns:
        ``gap_gllbsc_own`` (eV, >= 0: the sum), ``gap_kohn_sham`` (eV), ``derivative_discontinuity`` (eV; 0 where the
        eigenvalues leave no gap), ``overlap_gllbsc``, ``is_metal_gllbsc``, ``vbm_kpoint_gllbsc``,
        ``cbm_kpoint_gllbsc``.
        No energy: that of this functional is none to be compared with PBE's.
    """
    _, atoms, bands = ground_state(crystal, level_for("gllbsc", level), engine, folder, remedy)
    found = gap_from_bands(bands)
    jump = 0.0
    if not found["is_metal"]:
        n = bands.n_occupied
        valence = float(max(bands.grid[:, n - 1].max(), bands.path[:, n - 1].max()))
        kpoints, _ = telling_points(atoms, found)
        edges = (valence, valence + found["gap_pbe"])
        jump = beyond(engine).gllbsc(atoms, kpoints, edges, folder / "discontinuity.txt")
    return {
        "gap_gllbsc_own": found["gap_pbe"] + jump,
        "gap_kohn_sham": found["gap_pbe"],
        "derivative_discontinuity": jump,
        "overlap_gllbsc": found["overlap"],
        "is_metal_gllbsc": found["is_metal"],
        "vbm_kpoint_gllbsc": found["vbm_kpoint"],
        "cbm_kpoint_gllbsc": found["cbm_kpoint"],
    }


def telling_points(atoms: Atoms, found: dict[str, Any]) -> tuple[NDArray[np.float64], int]:
    """((n, 3) k-points: the valence edge, the conduction edge, the special points of the path; each once) and where the
    conduction edge is among them."""
    special = atoms.cell.bandpath(npoints=0).special_points.values()
    points: list[NDArray[np.float64]] = []
    for point in np.array([found["vbm_kpoint"], found["cbm_kpoint"], *special], dtype=float):
        if not any(_same(point, other) for other in points):
            points.append(point)
    return np.array(points), 0 if _same(np.array(found["vbm_kpoint"]), np.array(found["cbm_kpoint"])) else 1


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two k-points are equal up to a reciprocal lattice vector."""
    apart = one - other
    return bool(np.abs(apart - apart.round()).max() < 1e-5)


def beyond(engine: Engine) -> BeyondPBE:
    """The engine as one that goes beyond PBE.

    Raises:
        Failure: it does not.
    """
    if not isinstance(engine, BeyondPBE):
        raise Failure(Reason.UNSUPPORTED, f"the engine {engine.name} goes no further than its functional")
    return engine
