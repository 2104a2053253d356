"""Intervals cover what they claim, and know where errors are large."""

from __future__ import annotations

import numpy as np
import pytest

from materia.surrogate._calibration import Z90, Calibration, conformal_quantile, cross_coverage
from materia.surrogate._folds import grouped_folds


def synthetic(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Heavy-tailed residuals whose scale grows with the first feature."""
    rng = np.random.default_rng(seed)
    features = np.column_stack([rng.gamma(2.0, 0.5, n), rng.random(n) * 0.1, np.zeros(n)])
    return rng.standard_t(4, n) * (0.05 + 0.3 * features[:, 0]), features


def test_quantile_by_hand() -> None:
    """9 of 10 among 1..19: rank ceil(20 * 0.9) = 18."""
    assert conformal_quantile(np.arange(1.0, 20.0)) == 18.0
    assert conformal_quantile(np.array([1.0, 2.0])) == 3.0  # too few to say: 1.5 times the largest


def test_coverage_on_fresh_data_is_90_per_cent() -> None:
    """Mean over 30 calibrations of 150 residuals each; its own standard error is about 0.005."""
    fresh, fresh_features = synthetic(20_000, seed=999)
    covered = []
    for seed in range(30):
        residuals, features = synthetic(150, seed)
        std = Calibration.fit(residuals, features, 1.0).std(fresh_features)
        covered.append(float(np.mean(np.abs(fresh) <= Z90 * std)))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)
    assert min(covered) > 0.8


def test_scale_follows_the_error() -> None:
    residuals, features = synthetic(400, seed=1)
    std = Calibration.fit(residuals, features, 1.0).std(features)
    far = features[:, 0] > np.median(features[:, 0])
    assert std[far].mean() > 1.5 * std[~far].mean()
    inside = np.abs(residuals) <= Z90 * std
    assert abs(inside[far].mean() - inside[~far].mean()) < 0.12


def test_cross_coverage_of_honest_folds() -> None:
    residuals, features = synthetic(600, seed=2)
    folds = np.arange(600) % 5
    assert cross_coverage(residuals, features, folds, 1.0) == pytest.approx(0.9, abs=0.04)


def test_few_residuals_quote_the_spread_of_the_labels() -> None:
    calibration = Calibration.fit(np.array([0.0, 0.1]), np.zeros((2, 3)), fallback=0.7)
    assert calibration.std(np.zeros((4, 3))).tolist() == [0.7] * 4


def test_folds_keep_groups_together_and_balanced() -> None:
    groups = [f"g{i % 23}" for i in range(115)]
    folds = grouped_folds(groups, 5, seed=0)
    for group in set(groups):
        assert len({int(f) for f, g in zip(folds, groups, strict=True) if g == group}) == 1
    assert np.bincount(folds, minlength=5).tolist() == [25, 25, 25, 20, 20]
    shuffled = np.random.default_rng(0).permutation(115)
    assert (grouped_folds([groups[i] for i in shuffled], 5, seed=0) == folds[shuffled]).all()
