"""A Gaussian process on a network's latents: exact, whatever the order in which labels come; it sees no value."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor

from materia.campaign import GaussianProcess
from materia.campaign._gaussian_process import Posterior
from materia.resources import resource
from materia.search import Beliefs, Conditions, Objective
from materia.search.replay import KnownPool
from materia.search.replay.forest import ForestLearner
from materia.search.replay.learner import load
from materia.surrogate import Prior, Surrogate, Trees, mixed, share_of_trees, told_of
from materia.surrogate._prior import _kernel, centre_and_unit
from rock_salts import rock_salts

BASE = str(resource("data/weights/base"))
GAP = "gap_pbe_mp"


@pytest.fixture(scope="module")
def pool() -> KnownPool:
    """Rock salts of several sizes; what is asked for is close to what the shipped network would say of their gaps."""
    crystals = rock_salts()
    n = len(crystals)
    said, _ = Surrogate.load(BASE, device="cpu").predict(crystals).column(GAP)
    gaps = 0.8 * said + 0.3 * np.sin(said) + np.random.default_rng(0).normal(scale=0.1, size=n)
    return KnownPool(tuple(map(str, range(n))), crystals, ("rocksalt",) * n, np.full(n, 225), {GAP: gaps})


def test_it_learns_faster_than_trees_that_are_told_nothing(pool: KnownPool) -> None:
    rows, truth = np.arange(0, len(pool), 4), pool.values[GAP]
    rest = np.setdiff1d(np.arange(len(pool)), rows)
    errors = []
    for learner in (GaussianProcess(BASE, device="cpu"), ForestLearner(trees=20)):
        mean, std = learner.learn(pool, rows, {GAP: truth[rows]}, seed=1).columns[GAP]
        errors.append(float(np.abs(mean - truth)[rest].mean()))
        if isinstance(learner, GaussianProcess):
            inside = (np.abs(mean - truth) <= 1.6449 * std)[rest].mean()
            assert inside > 0.7  # nine of ten, with more labels than these 24
    assert errors[0] < 0.6 * errors[1]


def test_labels_one_after_the_other_say_what_all_say_at_once(pool: KnownPool) -> None:
    order, truth = np.random.default_rng(3).permutation(len(pool)), pool.values[GAP]
    grown = GaussianProcess(BASE, device="cpu", fitted_on=20)
    for n in (8, 20, 30, 41, 60):
        rows = order[:n]
        found = grown.learn(pool, rows, {GAP: truth[rows]}, seed=0).columns[GAP]
        anew = GaussianProcess(BASE, device="cpu", fitted_on=20).learn(pool, rows, {GAP: truth[rows]}, seed=0)
        for mine, fresh in zip(found, anew.columns[GAP], strict=True):
            np.testing.assert_allclose(mine, fresh, atol=2e-4)
    other = order[::-1][:60]  # labels that are not those of before and more: begun again
    turned = grown.learn(pool, other, {GAP: truth[other]}, seed=0).columns[GAP][0]
    fresh = GaussianProcess(BASE, device="cpu", fitted_on=20).learn(pool, other, {GAP: truth[other]}, seed=0)
    np.testing.assert_allclose(turned, fresh.columns[GAP][0], atol=2e-4)


def test_trees_are_believed_by_their_share(pool: KnownPool) -> None:
    rows, truth = np.random.default_rng(4).permutation(len(pool))[:40], pool.values[GAP]
    labels = {GAP: truth[rows]}
    alone, both = (
        GaussianProcess(BASE, device="cpu", hurdle=False, trees=count).learn(pool, rows, labels, seed=9).columns[GAP]
        for count in (0, 10)
    )
    told, _ = told_of(Surrogate.load(resource("data/weights/base"), device="cpu"), pool.crystals)
    centre, unit = told.scales()
    x = (told.raw - centre) / unit
    share = share_of_trees(Prior.fitted(told.ends, x[rows], truth[rows]), x[rows], truth[rows], 9, 10)
    assert 0 < share < 1
    for found, wanted in zip(both, mixed(alone, Trees.fitted(x[rows], truth[rows], 9, 10).read(x), share), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_trees_say_whether_there_is_a_gap(pool: KnownPool) -> None:
    rows, truth = np.random.default_rng(4).permutation(len(pool))[:40], pool.values[GAP]
    truth = np.where(truth < np.median(truth), 0.0, truth)
    learned = GaussianProcess(BASE, device="cpu", trees=10).learn(pool, rows, {GAP: truth[rows]}, seed=9)
    told, _ = told_of(Surrogate.load(resource("data/weights/base"), device="cpu"), pool.crystals)
    centre, unit = told.scales()
    x = (told.raw - centre) / unit
    wanted = Trees.of_yes_or_no(x[rows], truth[rows] > 0, 9, 10).chance(x)
    np.testing.assert_allclose(learned.hurdles[GAP].chance, wanted)


def test_the_posterior_is_that_of_another_program() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.normal(size=(50, d)) for d in (2, 5, 3)]
    x = np.hstack([(part - centre) / unit for part in parts for centre, unit in [centre_and_unit(part)]])
    y = parts[0][:, 0] + np.sin(2 * parts[1][:, 0])
    prior = Prior.fitted((2, 7, 10), x[:20], y[:20])
    posterior = Posterior(prior, x)
    posterior.given(np.arange(25), y[:25])
    mean, std = posterior.given(np.arange(40), y[:40])
    theirs = GaussianProcessRegressor(prior.kernel, optimizer=None).fit(x[:40], (y[:40] - prior.middle) / prior.scale)
    wanted, spread = theirs.predict(x, return_std=True)
    np.testing.assert_allclose(mean, wanted * prior.scale + prior.middle, atol=1e-4)
    np.testing.assert_allclose(std, spread * prior.scale, atol=1e-4)


def test_hyperparameters_are_fitted_along_the_true_gradient() -> None:
    rng = np.random.default_rng(2)
    x, kernel = rng.normal(size=(9, 6)), _kernel((2, 4, 6))
    _, gradient = kernel(x, eval_gradient=True)
    assert gradient.shape == (9, 9, len(kernel.theta))
    for k, step in enumerate(1e-5 * np.eye(len(kernel.theta))):
        ends = [kernel.clone_with_theta(kernel.theta + sign * step)(x) for sign in (1, -1)]
        np.testing.assert_allclose(gradient[:, :, k], (ends[0] - ends[1]) / 2e-5, atol=1e-7)


def test_what_is_told_is_no_value(pool: KnownPool) -> None:
    blind = KnownPool(pool.ids, pool.crystals, pool.prototypes, pool.spacegroups, {GAP: -pool.values[GAP]})
    rows = np.arange(0, len(pool), 3)
    labels = {GAP: pool.values[GAP][rows]}
    one = GaussianProcess(BASE, device="cpu").learn(pool, rows, labels, seed=0)
    other = GaussianProcess(BASE, device="cpu").learn(blind, rows, labels, seed=0)
    np.testing.assert_array_equal(one.columns[GAP][0], other.columns[GAP][0])
    assert one.embedding is not None
    assert one.embedding.shape == (len(pool), 96)


def test_labels_that_are_all_alike_are_no_reason_to_fail(pool: KnownPool) -> None:
    mean, std = GaussianProcess(BASE, device="cpu").learn(pool, np.arange(12), {GAP: np.zeros(12)}, seed=0).columns[GAP]
    assert np.abs(mean).max() < 1e-6
    assert np.isfinite(std).all()


def test_metals_are_learned_apart(pool: KnownPool) -> None:
    """A third of the crystals has no gap: two processes give the narrow window a better chance than one of both."""
    truth = np.maximum(pool.values[GAP] - np.quantile(pool.values[GAP], 0.35), 0.0)
    rows = np.random.default_rng(4).permutation(len(pool))[:60]
    rest = np.setdiff1d(np.arange(len(pool)), rows)
    low, high = 0.05, float(np.quantile(truth, 0.6))
    asked = Conditions([Objective(quantity=GAP, window=(low, high))])
    hits = ((truth >= low) & (truth <= high))[rest]
    surprise = []
    for hurdle in (False, True):
        learned = GaussianProcess(BASE, device="cpu", hurdle=hurdle).learn(pool, rows, {GAP: truth[rows]}, seed=0)
        assert bool(learned.hurdles) == hurdle
        beliefs = Beliefs(learned.columns, learned.hurdles)
        chance = np.clip(asked.probability(beliefs)[rest], 1e-6, 1 - 1e-6)
        surprise.append(-np.log(np.where(hits, chance, 1 - chance)).mean())
    assert surprise[1] < 0.9 * surprise[0]
    open_, closed = truth[rest] > 0, truth[rest] == 0
    chance = learned.hurdles[GAP].chance[rest]
    assert chance[open_].mean() > 0.8 > 0.3 > chance[closed].mean()


def test_few_metals_or_none_are_no_class_of_their_own(pool: KnownPool) -> None:
    rows, values = np.arange(30), np.concatenate([np.zeros(7), pool.values[GAP][7:30]])
    learner = GaussianProcess(BASE, device="cpu")
    assert not learner.learn(pool, rows, {GAP: values}, seed=0).hurdles
    one = GaussianProcess(BASE, device="cpu", hurdle=False).learn(pool, rows, {GAP: values}, seed=0)
    np.testing.assert_array_equal(learner.learn(pool, rows, {GAP: values}, seed=0).columns[GAP][0], one.columns[GAP][0])


def test_it_is_installed_under_its_name() -> None:
    assert isinstance(load("gaussian_process", {"model": "base", "fitted_on": 5}), GaussianProcess)
