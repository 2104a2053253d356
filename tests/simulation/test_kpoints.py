"""Grids: even, dense enough, as symmetric as the crystal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from materia.simulation._kpoints import grid_size, irreducible_kpoints
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
