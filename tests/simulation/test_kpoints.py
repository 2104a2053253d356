"""Grids: even, dense enough, as symmetric as the crystal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import spglib

from materia.simulation._kpoints import grid_size, irreducible_kpoints, shifted_kpoints
from materia.space import build_prototype

CASES = {
    "zincblende": ("Ga", "As"), "wurtzite": ("Zn", "O"), "rutile": ("Ti", "O"), "chalcopyrite": ("Cu", "Ga", "S"),
    "nafeo2": ("Na", "In", "O"), "caal2si2": ("Ca", "Zn", "P"), "perovskite": ("Sr", "Ti", "O"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_grid_is_even_and_at_least_as_dense_as_asked(name: str) -> None:
    crystal = build_prototype(name, CASES[name])
    sizes = grid_size(crystal, 3.5)
    reciprocal = 2 * math.pi * np.linalg.inv(crystal.lattice).T
    assert all(n % 2 == 0 for n in sizes)
    assert all(n >= 3.5 * np.linalg.norm(b) - 1e-9 for n, b in zip(sizes, reciprocal, strict=True))


def test_body_centred_tetragonal_cells_get_equal_numbers() -> None:
    crystal = build_prototype("chalcopyrite", CASES["chalcopyrite"])
    lengths = np.linalg.norm(np.linalg.inv(crystal.lattice).T, axis=1)
    assert np.ptp(lengths) > 0.1 * lengths.min(), "the density alone would give different numbers"
    assert len(set(grid_size(crystal, 3.5))) == 1


def test_size_and_elements_do_not_change_the_symmetry() -> None:
    small, large = build_prototype("zincblende", ("B", "N")), build_prototype("zincblende", ("In", "Sb"))
    scaled = large.scaled_to_volume(small.volume)
    assert irreducible_kpoints(scaled, 3.5) == irreducible_kpoints(small, 3.5)
    assert irreducible_kpoints(large, 3.5) < irreducible_kpoints(small, 3.5)


@pytest.mark.parametrize("name", CASES)
def test_shifted_grids_are_as_symmetric_as_the_crystal_and_about_as_dense_as_asked(name: str) -> None:
    crystal = build_prototype(name, CASES[name])
    points = shifted_kpoints(crystal, 3.5)
    found = spglib.get_symmetry((crystal.lattice, crystal.frac_coords, crystal.numbers))
    every = modulo(points)
    assert len(every) == len(points)
    assert all(modulo(points @ rotation) == every for rotation in found["rotations"])
    assert (0.0, 0.0, 0.0) not in every
    assert len(points) >= 0.9 * 3.5**3 * (2 * math.pi) ** 3 / crystal.volume


def test_in_fcc_four_shifted_grids_belong_together() -> None:
    """Half a spacing along all three vectors, turned: the sum of the three becomes any one of them."""
    points = shifted_kpoints(build_prototype("zincblende", ("Ga", "As")), 3.5)
    size = round((len(points) / 4) ** (1 / 3))
    assert modulo(points * size) == {(0.5, 0.5, 0.5), (0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)}


def modulo(points: np.ndarray) -> set[tuple[float, ...]]:
    """Without reciprocal lattice vectors."""
    return {tuple(point) for point in ((points.round(6) % 1.0).round(6) % 1.0).tolist()}
