"""The alarm for pools that drift: silent on what training looked like, loud beyond it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from materia.surrogate._drift import FALSE_ALARM_RATE, Drift, calibrated, drift, per_group, remoteness, unseen_distances
from materia.surrogate._latents import LatentIndex

DIMENSIONS = 6


def world(seed: int, members: int = 3) -> tuple[list[dict[str, object]], list[LatentIndex]]:
    """Members that learned from, and were calibrated on, draws of one normal distribution."""
    draw = np.random.default_rng(seed)
    indices = [LatentIndex.of(draw.normal(size=(400, DIMENSIONS)).astype(np.float32)) for _ in range(members)]
    unseen = [index.distance(draw.normal(size=(60, DIMENSIONS)).astype(np.float32)) for index in indices]
    return [unseen_distances(distance, [str(i) for i in range(60)]) for distance in unseen], indices


def pool(seed: int, n: int, shift: float, members: int = 3) -> np.ndarray:
    """Latents of a pool: the same structures in every member's space, moved along one axis."""
    latents = np.random.default_rng(seed).normal(size=(n, DIMENSIONS))
    latents[:, 0] += shift
    return np.tile(latents, members).astype(np.float32)


def told(seed: int, latents: np.ndarray, names: list[str]) -> Drift:
    record, indices = world(seed)
    return drift(remoteness(record, indices, latents), names, calibrated(record))


def test_values_are_counted_once_a_formula() -> None:
    np.testing.assert_allclose(per_group(np.array([1.0, 3.0, 5.0]), ["b", "b", "a"]), [5.0, 2.0])


def test_false_alarms_are_as_rare_as_stated_and_shifts_are_found() -> None:
    names = [str(i) for i in range(150)]
    false, found = 0, 0
    for seed in range(60):
        false += told(seed, pool(1000 + seed, 150, 0.0), names).alarm
        found += told(seed, pool(2000 + seed, 150, 2.0), names).alarm
    assert false <= 4, f"{false} of 60 at a stated rate of {FALSE_ALARM_RATE}"  # P(> 4) = 3e-4
    assert found == 60


def test_a_pool_far_away_lies_beyond_all() -> None:
    far = told(0, pool(1, 50, 20.0), [str(i) for i in range(50)])
    assert far.shift == pytest.approx(1.0)
    assert far.alarm


def test_copies_of_one_formula_prove_nothing() -> None:
    copies = told(0, pool(1, 500, 2.0), ["GaAs"] * 500)
    assert math.isnan(copies.shift)
    assert not copies.alarm
    assert copies.to_json() == {"shift": None, "p_value": 1.0, "alarm": False, "n": 1}


def test_a_model_that_left_nothing_out_cannot_tell() -> None:
    indices = world(0)[1]
    assert np.isnan(remoteness([unseen_distances([], [])] * 3, indices, pool(1, 20, 0.0))).all()
    assert not drift(np.full(20, np.nan), [str(i) for i in range(20)], 0).alarm
