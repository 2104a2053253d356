"""Effective masses of bands that are known in closed form, and of gallium arsenide."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from materia.simulation.recipes._masses import (
    DIRECTIONS,
    HBAR2_OVER_M,
    WEIGHTS,
    edge_at,
    settled,
    stencil,
    summary,
)

Array = NDArray[np.float64]
N_FILLED = 4
# Silicon's conduction valley has such a tensor; turned, nothing lies along an axis any more.
TENSOR = np.diag([0.19, 0.19, 0.95])
TURN = Rotation.from_euler("xyz", [0.3, -0.8, 1.1]).as_matrix()


def bands(*pairs: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Eigenvalues (n_k, 4 + 2 n) of two flat filled pairs and of the given ones, each state twice."""

    def eigenvalues(k: Array) -> Array:
        filled = np.full((len(k), N_FILLED), -5.0)
        return np.hstack([filled, np.sort(np.column_stack([p(k) for p in pairs for _ in range(2)]), axis=1)])

    return eigenvalues


def parabola(tensor: Array, centre: Array, bottom: float = 0.0) -> Callable[[Array], Array]:
    inverse = np.linalg.inv(tensor)
    return lambda k: bottom + HBAR2_OVER_M / 2 * np.einsum("ki,ij,kj->k", k - centre, inverse, k - centre)


def test_weights_are_lebedevs_of_26_points() -> None:
    """An average over all directions is exact for x^2, x^4 and x^2 y^2: 1/3, 1/5, 1/15."""
    x, y, _ = DIRECTIONS.T
    assert WEIGHTS.sum() == pytest.approx(1)
    assert [WEIGHTS @ x**2, WEIGHTS @ x**4, WEIGHTS @ (x * y) ** 2] == pytest.approx([1 / 3, 1 / 5, 1 / 15])


@pytest.mark.parametrize("turn", [np.eye(3), TURN])
def test_a_parabola_has_its_own_mass_and_turns_with_the_crystal(turn: Array) -> None:
    tensor, centre = turn @ TENSOR @ turn.T, np.array([0.3, -0.2, 0.7])
    found = summary(settled(bands(parabola(tensor, centre)), centre, N_FILLED, 1, 0.1))
    assert np.allclose(found["tensor"], tensor, rtol=1e-6, atol=1e-7)
    assert found["principal"] == pytest.approx([0.19, 0.19, 0.95])
    assert found["degeneracy"] == 1
    assert found["mass"] == pytest.approx(3 / (1 / 0.19 + 1 / 0.19 + 1 / 0.95))


def test_holes_have_positive_masses() -> None:
    top = parabola(TENSOR, np.zeros(3))
    flipped = bands(lambda k: -top(k))  # four states below, and these two: six are filled
    found = summary(settled(flipped, np.zeros(3), N_FILLED + 2, -1, 0.1))
    assert np.allclose(found["tensor"], TENSOR, rtol=1e-6, atol=1e-7)


def test_an_extremum_that_was_missed_is_found() -> None:
    centre = np.array([0.1, 0.05, -0.08])
    edge = settled(bands(parabola(TURN @ TENSOR @ TURN.T, centre)), np.zeros(3), N_FILLED, 1, 0.1)
    assert edge.kpoint == pytest.approx(centre, abs=1e-6)


def test_the_minimum_beside_a_crossing_is_found_as_beside_x_of_silicon() -> None:
    """Two valleys on either side of the start, which meet there in a kink: no extremum, but the lowest point known."""
    delta = np.array([0.0, 0.0, 0.17])
    edge = settled(bands(parabola(TENSOR, delta), parabola(TENSOR, -delta)), np.zeros(3), N_FILLED, 1, 0.4)
    assert np.abs(edge.kpoint) == pytest.approx(delta, abs=1e-4)
    assert summary(edge)["principal"] == pytest.approx([0.19, 0.19, 0.95], rel=1e-4)


def test_pairs_that_meet_have_masses_by_direction() -> None:
    """Warped bands as in Dresselhaus, Kip and Kittel: E = A k^2 +- sqrt(B^2 k^4 + C^2 (kx^2 ky^2 + ...))."""
    a, b, c = 4.0, 0.8, 4.0  # ħ²/2m, near those of silicon

    def band(sign: int) -> Callable[[Array], Array]:
        def energy(k: Array) -> Array:
            x, y, z = (k**2).T
            square = b**2 * (x + y + z) ** 2 + c**2 * (x * y + y * z + z * x)
            return HBAR2_OVER_M / 2 * (a * (x + y + z) + sign * np.sqrt(square))

        return energy

    found = summary(edge_at(np.zeros(3), bands(band(-1), band(1))(stencil(np.zeros(3))), N_FILLED, 1))
    assert (found["degeneracy"], found["tensor"]) == (2, None)
    along = np.array(found["along"])
    axis = (DIRECTIONS == [0, 0, 1]).all(axis=1)
    diagonal = np.isclose(DIRECTIONS, 1 / np.sqrt(3)).all(axis=1)
    assert along[:, axis].ravel() == pytest.approx([1 / (a - b), 1 / (a + b)], rel=1e-6)
    root = np.sqrt(b**2 + c**2 / 3)
    assert along[:, diagonal].ravel() == pytest.approx([1 / (a - root), 1 / (a + root)], rel=1e-6)
    heavy, light = (1 / (WEIGHTS @ (1 / row)) for row in along)
    assert found["mass"] == pytest.approx((heavy**1.5 + light**1.5) / (heavy**0.5 + light**0.5))


def test_a_saddle_has_no_mass() -> None:
    def saddle(k: Array) -> Array:
        return np.asarray(HBAR2_OVER_M / 2 * (k[:, 0] ** 2 + k[:, 1] ** 2 - k[:, 2] ** 2))

    found = summary(edge_at(np.zeros(3), bands(saddle)(stencil(np.zeros(3))), N_FILLED, 1))
    assert (found["mass"], found["tensor"]) == (None, None)
    along = dict(zip(map(tuple, found["directions"]), found["along"][0], strict=True))
    assert along[0.0, 0.0, 1.0] == pytest.approx(-1.0)
    assert along[1.0, 0.0, 0.0] == pytest.approx(1.0)
