"""A forest that is told what a network says: it knows more than one that is not, and no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from materia.campaign import InformedForest
from materia.crystal import Crystal
from materia.resources import resource
from materia.search.replay import KnownPool
from materia.search.replay.forest import ForestLearner
from materia.search.replay.learner import load
from materia.surrogate import Predictions, Surrogate
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


def test_networks_are_asked_once_a_pool(pool: KnownPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs of a replay there are in a process; another pool is asked about anew."""
    asked: list[int] = []
    predict = Surrogate.predict

    def counted(self: Surrogate, crystals: Sequence[Crystal]) -> Predictions:
        asked.append(len(crystals))
        return predict(self, crystals)

    monkeypatch.setattr(Surrogate, "predict", counted)
    part = KnownPool(pool.ids[:5], pool.crystals[:5], pool.prototypes[:5], pool.spacegroups[:5], {})
    first, second = (InformedForest(BASE, device="cpu").matrix(part) for _ in range(2))
    assert first is second and asked == [5]
    other = replace(part, ids=part.ids)
    np.testing.assert_array_equal(InformedForest(BASE, device="cpu").matrix(other), first)
    assert asked == [5, 5]
    assert InformedForest(BASE, device="cpu", features="composition").matrix(part).shape[1] < first.shape[1]


def test_it_is_installed_under_its_name() -> None:
    assert isinstance(load("informed_forest", {"model": "base", "trees": 5}), InformedForest)
