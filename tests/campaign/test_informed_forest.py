"""A forest that is told what a network says: it knows more than one that is not, and no label."""

from __future__ import annotations

import numpy as np
import pytest

from materia.campaign import InformedForest
from materia.resources import resource
from materia.search.replay import KnownPool
from materia.search.replay.forest import ForestLearner
from materia.search.replay.learner import load
from materia.surrogate import Surrogate
from rock_salts import rock_salts

BASE = str(resource("data/weights/base"))


@pytest.fixture(scope="module")
def pool() -> KnownPool:
    """Rock salts of several sizes; what is asked for is what the shipped network would say of their gaps."""
    crystals = rock_salts()
    n = len(crystals)
    gaps, _ = Surrogate.load(BASE, device="cpu").predict(crystals).column("gap_pbe_mp")
    ids = tuple(str(k) for k in range(n))
    return KnownPool(ids, crystals, ("rocksalt",) * n, np.full(n, 225), {"gap_pbe_mp": gaps})


def test_it_learns_faster_than_one_that_is_told_nothing(pool: KnownPool) -> None:
    rows, truth = np.arange(0, len(pool), 4), pool.values["gap_pbe_mp"]
    errors = []
    for learner in (InformedForest(BASE, device="cpu", trees=20), ForestLearner(trees=20)):
        mean, _ = learner.learn(pool, rows, {"gap_pbe_mp": truth[rows]}, seed=1).columns["gap_pbe_mp"]
        errors.append(float(np.abs(mean - truth).mean()))
    assert errors[0] < 0.8 * errors[1]


def test_it_sees_structures_and_no_value(pool: KnownPool) -> None:
    blind = KnownPool(
        pool.ids, pool.crystals, pool.prototypes, pool.spacegroups, {"gap_pbe_mp": -pool.values["gap_pbe_mp"]}
    )
    learner = InformedForest(BASE, device="cpu")
    seen = learner.matrix(pool)
    assert seen.shape == (
        len(pool),
        93 + 2 * 3 + 2 * 48,
    )  # its own, three means and stds, two latents
    np.testing.assert_array_equal(seen, learner.matrix(blind))


def test_it_is_installed_under_its_name() -> None:
    assert isinstance(load("informed_forest", {"model": "base", "trees": 5}), InformedForest)
