"""Dielectric tensors by density-functional perturbation theory: of the electrons, and with the ions that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import Level
from materia.simulation.engines import Engine, Responds, Response
from materia.simulation.recipes._gap import gap_from_bands, ground_state

Floats = NDArray[np.float64]
COULOMB = 14.399645  # eV Å: e² / (4π ε0), CODATA 2018
SOFT = 1e-3  # eV/Å²: an optical force constant below this holds nothing


def dielectric(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """The PBE gap, and for a crystal that has one the dielectric tensors and the phonons at the zone centre.

    The response is that of fixed occupations at the level's other settings, at the geometry given.

    Returns:
        ``energy_per_atom`` (eV), everything of :func:`gap_from_bands` and, where it is no metal, everything of
        :func:`tensors`.
    """
    energy, _, bands = ground_state(crystal, level, engine, folder, remedy)
    found = {"energy_per_atom": energy, **gap_from_bands(bands)}
    if found["is_metal"]:
        return found
    atoms = crystal.to_ase()
    fixed = level.model_copy(update={"smearing_ev": 0.0})
    atoms.calc = engine.calculator(crystal, fixed, folder / "response_scf.txt", remedy=remedy)
    response = responding(engine).response(atoms, folder / "response.txt")
    return {**found, **tensors(response, crystal.volume, atoms.get_masses())}


def tensors(response: Response, volume: float, masses: Floats) -> dict[str, Any]:
    """Static tensor and phonons of a response (Gonze and Lee, Phys. Rev. B 55, 10355 (1997), at zero frequency).

    With the acoustic sum rules imposed the masses drop out: what the ions add is Z K⁻¹ Z, of the charges Z and the
    force constants K of the optical displacements.

    Args:
        response: of n atoms.
        volume: of the cell, Å³.
        masses: (n,) atomic mass units.

    Returns:
        ``dielectric_electronic`` (3x3), its mean over directions ``dielectric_electronic_own``, ``born_charges``
        (n x 3 x 3, e, field by displacement), ``frequencies`` (3n - 3, 1/cm, rising, imaginary ones negative),
        ``unstable``: whether a displacement lowers the energy. Where none does, ``dielectric_static`` (3x3) and its
        mean ``dielectric_static_own``.
    """
    n = len(masses)
    relative = _without(np.ones(n))  # (3n, 3n - 3)
    charges = response.charges - response.charges.mean(axis=0)
    constants = relative @ relative.T @ response.force_constants @ relative @ relative.T
    constants = (constants + constants.T) / 2
    values, vectors = np.linalg.eigh(relative.T @ constants @ relative)
    unstable = bool((values < SOFT).any())
    found: dict[str, Any] = {
        "dielectric_electronic": response.electronic.tolist(),
        "dielectric_electronic_own": float(np.trace(response.electronic) / 3),
        "born_charges": charges.round(6).tolist(),
        "frequencies": _frequencies(constants, masses),
        "unstable": unstable,
    }
    if not unstable:
        by_field = charges.transpose(0, 2, 1).reshape(-1, 3)  # row of each displacement, column of each field
        pulled = vectors.T @ relative.T @ by_field  # (3n - 3, 3): along each mode, by each field
        ionic = 4 * np.pi * COULOMB / volume * (pulled.T / values) @ pulled
        static = response.electronic + ionic
        found |= {"dielectric_static": static.tolist(), "dielectric_static_own": float(np.trace(static) / 3)}
    return found


def _without(weights: Floats) -> Floats:
    """(3n, 3n - 3) orthonormal displacements without those of the whole crystal, which weigh each atom like this."""
    whole = np.kron(weights[:, None], np.eye(3))
    return np.linalg.svd(whole)[0][:, 3:]


def _frequencies(constants: Floats, masses: Floats) -> list[float]:
    """1/cm, but for the three of the whole crystal, which are 0 by the sum rule."""
    from ase import units

    weights, relative = np.repeat(1 / np.sqrt(masses), 3), _without(np.sqrt(masses))
    squares = np.linalg.eigvalsh(relative.T @ (weights[:, None] * constants * weights) @ relative)
    per_cm = units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm  # of the square root of 1 eV/(Å² u)
    return [float(x) for x in (np.sign(squares) * np.sqrt(np.abs(squares)) * per_cm).round(3)]


def responding(engine: Engine) -> Responds:
    """The engine as one that does perturbation theory.

    Raises:
        Failure: it does not.
    """
    if not isinstance(engine, Responds):
        raise Failure(Reason.UNSUPPORTED, f"the engine {engine.name} does no perturbation theory")
    return engine
