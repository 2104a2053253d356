"""Gaps from counted electrons, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from materia.simulation.engines import Bands
from materia.simulation.recipes import gap_from_bands

GAMMA, X, L = [0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.5]


def bands(grid: list[list[float]], path: list[list[float]], occupied: int = 1) -> Bands:
    return Bands(occupied, np.array([GAMMA, X]), np.array(grid), np.array([L, X]), np.array(path))


def test_indirect_gap_is_found_on_the_path_where_the_grid_misses_it() -> None:
    found = gap_from_bands(bands([[0.0, 3.0], [-1.0, 2.0]], [[-0.5, 0.8], [-1.0, 2.0]]))
    assert found["gap_pbe"] == pytest.approx(0.8)  # VBM at Γ (0.0), CBM at L (0.8)
    assert found["gap_direct_pbe"] == pytest.approx(1.3)  # at L: 0.8 - (-0.5)
    assert found["grid_gap"] == pytest.approx(2.0)
    assert found["vbm_kpoint"] == GAMMA
    assert found["cbm_kpoint"] == L
    assert not found["is_direct"]
    assert not found["is_metal"]


def test_overlapping_bands_are_a_metal_with_gap_zero() -> None:
    found = gap_from_bands(bands([[0.3, 1.0], [0.0, 0.1]], [[0.0, 1.0], [0.0, 0.5]]))
    assert found["is_metal"]
    assert found["gap_pbe"] == 0.0
    assert found["gap_direct_pbe"] == 0.0
    assert found["overlap"] == pytest.approx(0.2)


def test_electrons_are_counted_not_guessed_from_a_level() -> None:
    eigenvalues = [[-5.0, 0.0, 2.0], [-4.0, -1.0, 3.0]]
    one = gap_from_bands(bands(eigenvalues, eigenvalues, occupied=1))
    two = gap_from_bands(bands(eigenvalues, eigenvalues, occupied=2))
    assert one["gap_pbe"] == pytest.approx(3.0)  # -1 - (-4)
    assert two["gap_pbe"] == pytest.approx(2.0)


def test_direct_gap_at_one_point() -> None:
    found = gap_from_bands(bands([[0.0, 1.5], [-1.0, 3.0]], [[-2.0, 3.0], [-1.0, 3.0]]))
    assert found["is_direct"]
    assert found["gap_pbe"] == found["gap_direct_pbe"] == pytest.approx(1.5)
