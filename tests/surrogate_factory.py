"""Small crystals and networks for the surrogate's tests."""

from __future__ import annotations

import numpy as np

from materia.crystal import Crystal
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.surrogate import Network, SurrogateSettings

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def zincblende(cation: str, anion: str, a: float) -> Crystal:
    return Crystal.from_species(FCC * a, [cation, anion], [[0, 0, 0], [0.25, 0.25, 0.25]])


def rocksalt(cation: str, anion: str, a: float) -> Crystal:
    return Crystal.from_species(FCC * a, [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def perovskite(a_site: str, b_site: str, anion: str, a: float) -> Crystal:
    coords = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Crystal.from_species(np.eye(3) * a, [a_site, b_site, *[anion] * 3], coords)


def wurtzite(cation: str, anion: str, a: float) -> Crystal:
    c = a * (8 / 3) ** 0.5
    lattice = [[a / 2, -a * 3**0.5 / 2, 0], [a / 2, a * 3**0.5 / 2, 0], [0, 0, c]]
    coords = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.375], [2 / 3, 1 / 3, 0.875]]
    return Crystal.from_species(lattice, [cation, cation, anion, anion], coords)


def triclinic() -> Crystal:
    """No symmetry at all, not even inversion."""
    lattice = [[4.1, 0.2, -0.3], [0.7, 5.2, 0.4], [-0.5, 0.9, 6.3]]
    coords = [[0.02, 0.1, 0.05], [0.51, 0.43, 0.22], [0.13, 0.62, 0.71], [0.67, 0.05, 0.58]]
    return Crystal.from_species(lattice, ["Ga", "As", "O", "Li"], coords)


def make_network(settings: SurrogateSettings, targets: tuple[str, ...] = (FORMATION_ENERGY, GAP_PBE)) -> Network:
    """An untrained network whose outputs are of order one."""
    from materia.surrogate._start import fresh_network

    return fresh_network(targets, np.array([[-1.0] * len(targets), [1.0] * len(targets)]), settings, seed=3)
