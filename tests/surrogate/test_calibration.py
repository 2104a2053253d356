"""Intervals cover what they claim, and know where errors are large."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from materia.surrogate._calibration import Z90, Calibration, conformal_quantile, cross_inside, ensemble_gain
from materia.surrogate._folds import grouped_folds, left_out, unseen_by
from materia.surrogate._scale import TreeScale

Make = Callable[..., tuple[np.ndarray, np.ndarray, list[str]]]


def synthetic(n: int, seed: int, columns: int = 6) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Heavy-tailed residuals whose scale grows with the first feature; each of a formula of its own."""
    rng = np.random.default_rng(seed)
    features = np.zeros((n, columns))
    features[:, 0], features[:, 1] = rng.gamma(2.0, 0.5, n), rng.random(n) * 0.1
    return rng.standard_t(4, n) * (0.05 + 0.3 * features[:, 0]), features, [str(i) for i in range(n)]


def jumps(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Residuals that are small below a figure of 1 and large above: metals and the rest."""
    rng = np.random.default_rng(seed)
    features = np.column_stack([np.full((n, 2), 0.1), np.zeros((n, 2)), rng.random(n) * 2, rng.normal(size=n)])
    return rng.normal(size=n) * np.where(features[:, 4] < 1, 0.01, 1.0), features, [str(i) for i in range(n)]


def test_quantile_by_hand() -> None:
    """9 of 10 among 1..19: rank ceil(20 * 0.9) = 18."""
    assert conformal_quantile(np.arange(1.0, 20.0)) == 18.0
    assert conformal_quantile(np.array([1.0, 2.0])) == 3.0  # too few to say: 1.5 times the largest


@pytest.mark.parametrize(("make", "n"), [(synthetic, 150), (jumps, 400)])
def test_coverage_on_fresh_data_is_90_per_cent(make: Make, n: int) -> None:
    """Mean over calibrations of n residuals each; its own standard error is about 0.005."""
    fresh, fresh_features, _ = make(20_000, seed=999)
    covered = []
    for seed in range(20):
        std = Calibration.fit(*make(n, seed), 1.0).std(fresh_features)
        covered.append(float(np.mean(np.abs(fresh) <= Z90 * std)))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.02)
    assert min(covered) > 0.8


def test_scale_follows_the_error() -> None:
    residuals, features, names = synthetic(400, seed=1)
    std = Calibration.fit(residuals, features, names, 1.0).std(features)
    far = features[:, 0] > np.median(features[:, 0])
    assert std[far].mean() > 1.5 * std[~far].mean()
    inside = np.abs(residuals) <= Z90 * std
    assert abs(inside[far].mean() - inside[~far].mean()) < 0.12


def test_trees_tell_the_sure_from_the_unsure() -> None:
    """Half of the errors are 0.01, half 1, and a figure tells which: both halves are covered, each by its own width."""
    residuals, features, names = jumps(600, seed=3)
    fitted = Calibration.fit(residuals, features, names, 1.0)
    assert isinstance(fitted.scale, TreeScale)
    fresh, fresh_features, _ = jumps(5000, seed=4)
    std = fitted.std(fresh_features)
    sure = fresh_features[:, 4] < 1
    assert np.median(std[sure]) < 0.1 * np.median(std[~sure])
    for part in (sure, ~sure):
        assert np.mean(np.abs(fresh[part]) <= Z90 * std[part]) == pytest.approx(0.9, abs=0.08)


def test_no_shape_no_trees() -> None:
    """Where nothing tells large errors from small ones, the interval is constant."""
    rng = np.random.default_rng(5)
    features = np.abs(rng.normal(size=(600, 6)))
    features[:, 2] = 0.0
    fitted = Calibration.fit(rng.normal(size=600), features, [str(i) for i in range(600)], 1.0)
    inside = features[:, 0] <= fitted.reach
    assert np.ptp(fitted.std(features[inside])) == pytest.approx(0.0, abs=1e-12)


def test_where_members_disagree_by_more_than_they_err_that_is_the_error() -> None:
    """Errors of 0.01, but two members that differ by 3: half of that."""
    features = np.zeros((100, 6))
    fitted = Calibration.fit(np.full(100, 0.01), features, [str(i) for i in range(100)], 1.0)
    features[0, 2] = 3.0
    assert fitted.std(features)[:2] == pytest.approx([1.5, 0.01 / Z90])


def test_beyond_what_was_seen_the_scale_grows_with_distance() -> None:
    fitted = Calibration.fit(*jumps(600, seed=3), 1.0)
    here, there = np.tile(jumps(1, 0)[1], (2, 1))
    there[0] = 10 * fitted.reach
    near, far = fitted.std(np.stack([here, there]))
    assert far >= 9.9 * near * fitted.reach / max(here[0], fitted.reach)


@pytest.mark.parametrize("make", [synthetic, jumps])
def test_a_calibration_comes_back_from_its_card(make: Make) -> None:
    fitted = Calibration.fit(*make(600, seed=6), 1.0)
    again = Calibration.from_json(json.loads(json.dumps(fitted.to_json())))
    features = make(50, seed=7)[1]
    np.testing.assert_array_equal(again.std(features), fitted.std(features))


def test_cards_of_older_models_are_read() -> None:
    """std = factor * (constant + distance d + spread s + height h), so 2 * (0.1 + 0.2*1 + 0.3*2 + 0.4*3) = 4.2."""
    old = {"constant": 0.1, "distance": 0.2, "spread": 0.3, "height": 0.4, "floor": 0.01, "factor": 2.0, "n": 9}
    features = np.array([[1.0, 2.0, 0.0, 3.0]])
    assert Calibration.from_json(old).std(features) == pytest.approx([4.2])


def test_trees_that_do_not_belong_together_are_refused() -> None:
    entries = Calibration.fit(*jumps(600, seed=3), 1.0).to_json()["scale"]
    entries["left"][0] = 0  # a walk that would never end
    with pytest.raises(KeyError, match="do not belong together"):
        TreeScale.from_json(entries)


def test_what_an_ensemble_gains_by_its_size() -> None:
    """Errors of a shared part of variance 1 and members' own of variance 2: pairs err sqrt(2), eight sqrt(1.25)."""
    rng = np.random.default_rng(8)
    shared, own = rng.normal(size=40_000), rng.normal(size=(2, 40_000)) * 2**0.5
    features = np.zeros((40_000, 6))
    features[:, 2] = np.abs(own[0] - own[1])
    pairs, singles = np.full(40_000, 2), np.full(40_000, 1)
    gain = ensemble_gain(shared + own.mean(0), features, pairs, 8)
    assert gain == pytest.approx((1.25 / 2) ** 0.5, abs=0.02)
    assert ensemble_gain(shared + own.mean(0), features, pairs, 2) == 1.0
    assert ensemble_gain(shared + own[0], features, singles, 8) == 1.0  # one opinion does not tell


def test_cross_coverage_of_honest_folds() -> None:
    inside = cross_inside(*synthetic(600, seed=2), 1.0)
    assert inside is not None and inside.mean() == pytest.approx(0.9, abs=0.04)


def test_few_residuals_quote_the_spread_of_the_labels() -> None:
    calibration = Calibration.fit(np.array([0.0, 0.1]), np.zeros((2, 6)), ["a", "b"], fallback=0.7)
    assert calibration.std(np.zeros((4, 6))).tolist() == [0.7] * 4


def test_pairs_of_members_leave_out_a_fold() -> None:
    assert [left_out(k, 3, by=1) for k in range(3)] == [(0,), (1,), (2,)]
    assert [left_out(k, 3, by=2) for k in range(3)] == [(0, 1), (1, 2), (2, 0)]
    assert left_out(0, 1, by=2) == (0,)


def test_a_member_left_without_a_label_learns_from_all() -> None:
    folds, labelled = np.array([0, 0, 1]), np.array([True, True, False])
    assert unseen_by(0, folds, labelled, 2, 1).tolist() == [False] * 3
    assert unseen_by(1, folds, labelled, 2, 1).tolist() == [False, False, True]


def test_folds_keep_groups_together_and_balanced() -> None:
    groups = [f"g{i % 23}" for i in range(115)]
    folds = grouped_folds(groups, 5, seed=0)
    for group in set(groups):
        assert len({int(f) for f, g in zip(folds, groups, strict=True) if g == group}) == 1
    assert np.bincount(folds, minlength=5).tolist() == [25, 25, 25, 20, 20]
    shuffled = np.random.default_rng(0).permutation(115)
    assert (grouped_folds([groups[i] for i in shuffled], 5, seed=0) == folds[shuffled]).all()
