"""Chances of success learned from calculations that ended, and replays in which some fail."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from materia.crystal import Crystal
from materia.search import chance_of_success
from materia.search.replay import FailureSettings, KnownPool, Learned, ReplaySettings, play, summarise
from materia.search.replay._failing import failing

GOAL = {
    "version": 1,
    "name": "failing",
    "data": {"dataset": "unused"},
    "objectives": [{"quantity": "gap_pbe", "window": [1.0, 2.0]}],
    "start": 40,
    "batch": 10,
    "seeds": 4,
    "share": 0.5,
    "failures": {"share": 0.35, "regions": 2},
}
CATIONS = ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Al", "Ga", "In", "Sc", "Y")
ANIONS = ("N", "P", "As", "Sb", "O", "S", "Se", "Te", "F", "Cl", "Br", "I")


def strategy(name: str, failures: str, learner: str = "none") -> dict[str, object]:
    search = {"exploration": 0.0, "diversity": 0.0, "failures": failures}
    return {"name": name, "learner": learner, "search": search}


@pytest.fixture(scope="module")
def pool() -> KnownPool:
    """180 rock salts; every third has a gap in the window, whatever it consists of."""
    fcc = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    names = [(a, b) for a in CATIONS for b in ANIONS]
    crystals = tuple(
        Crystal.from_species(fcc * (4.5 + 0.1 * i % 2.0), pair, [[0, 0, 0], [0.5] * 3]) for i, pair in enumerate(names)
    )
    n = len(names)
    gaps = np.where(np.random.default_rng(0).permutation(n) % 3 == 0, 1.5, 4.0)
    ids = tuple(f"{a}{b}" for a, b in names)
    return KnownPool(ids, crystals, ("rocksalt",) * n, np.full(n, 225), {"gap_pbe": gaps})


def test_a_region_that_fails_is_learned() -> None:
    """Of 400 points, nine of ten fail where the first feature is above one half, one of twenty elsewhere."""
    rng = np.random.default_rng(1)
    features = rng.random((1400, 6))
    bad = features[:, 0] > 0.5
    well = rng.random(1400) >= np.where(bad, 0.9, 0.05)
    chance = chance_of_success(features, np.arange(400), well[:400], seed=3)
    assert chance is not None and chance.shape == (1400,)
    unseen = slice(400, None)
    assert chance[unseen][bad[unseen]].mean() == pytest.approx(0.1, abs=0.12)
    assert chance[unseen][~bad[unseen]].mean() == pytest.approx(0.95, abs=0.1)
    again = chance_of_success(features, np.arange(400), well[:400], seed=3)
    assert again is not None and np.array_equal(chance, again)


def test_failures_without_a_pattern_leave_the_share_of_successes() -> None:
    rng = np.random.default_rng(2)
    features, well = rng.random((600, 6)), rng.random(600) >= 0.3
    chance = chance_of_success(features, np.arange(300), well[:300], seed=0)
    assert chance is not None
    assert chance[300:].mean() == pytest.approx(0.7, abs=0.06)
    assert chance[300:].std() < 0.06


@pytest.mark.parametrize("failed", [0, 4, 96, 100])
def test_few_of_a_kind_teach_nothing(failed: int) -> None:
    well = np.arange(100) >= failed
    assert chance_of_success(np.random.default_rng(0).random((100, 3)), np.arange(100), well, seed=0) is None


def test_failures_come_in_regions_and_by_seed(pool: KnownPool) -> None:
    settings = FailureSettings(share=0.35, regions=1, inside=1.0, outside=0.0)
    fails = failing(pool, settings, seed=0)
    assert fails.mean() == pytest.approx(0.35, abs=0.01)
    assert np.array_equal(fails, failing(pool, settings, seed=0))
    assert not np.array_equal(fails, failing(pool, settings, seed=1))
    assert not failing(pool, None, seed=0).any()
    anions = np.array([c.elements[-1] for c in pool.crystals])
    shares = [fails[anions == a].mean() for a in np.unique(anions)]
    assert np.std(shares) > 0.2  # of chance alone: 0.12, the square root of 0.35 * 0.65 / 15


class Watcher:
    """A learner that knows the answers, and keeps what it was given to learn from."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, np.ndarray], seed: int) -> Learned:
        self.seen.append(rows)
        gaps = pool.values["gap_pbe"]
        assert np.array_equal(labels["gap_pbe"], gaps[rows])
        return Learned({"gap_pbe": (gaps, np.full(len(pool), 0.3))})


def test_a_failed_calculation_answers_nothing_and_costs_one(pool: KnownPool, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher()
    monkeypatch.setattr("materia.search.replay._trajectory.load", lambda name, options: watcher)
    settings = ReplaySettings.model_validate({**GOAL, "strategies": [strategy("a", "learn")]})
    run = play(pool, settings, settings.strategies[0], 0)
    fails = failing(pool, settings.failures, 0)
    assert fails[list(run.order)].any()
    assert not any(fails[rows].any() for rows in watcher.seen)
    found = np.array([1.0 <= g <= 2.0 for g in pool.values["gap_pbe"]]) & ~fails
    assert found[list(run.order)].sum() >= 0.5 * found.sum() > found[list(run.order)[:-10]].sum()
    assert [r["n"] for r in run.rounds] == [40 + 10 * k for k in range(len(run.rounds))]
    assert all(not hit or p > 0 for r in run.rounds for p, hit in r["chances"])


def test_who_learns_from_failures_meets_fewer(pool: KnownPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both know which gaps are wanted; only one learns where calculations end well."""
    monkeypatch.setattr("materia.search.replay._trajectory.load", lambda name, options: Watcher())
    settings = ReplaySettings.model_validate(
        {**GOAL, "strategies": [strategy("learn", "learn"), strategy("drop", "drop")]}
    )
    runs = [play(pool, settings, s, seed) for s in settings.strategies for seed in range(4)]
    met = {
        name: np.mean([failing(pool, settings.failures, r.seed)[list(r.order[40:])].mean() for r in mine])
        for name, mine in (("learn", runs[:4]), ("drop", runs[4:]))
    }
    assert met["learn"] < 0.75 * met["drop"]
    figures = summarise(pool, settings, runs)
    assert figures["strategies"]["learn"]["against"]["drop"]["value"] > 1
    findable = [(60 - (failing(pool, settings.failures, s) & (pool.values["gap_pbe"] == 1.5)).sum()) for s in range(4)]
    assert figures["goal"]["findable"] == pytest.approx(np.mean(findable), abs=0.06)
    assert figures["goal"]["hits"] == 60
    assert all(figures["strategies"][name]["reached"] == 4 for name in met)


def test_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"share \(0.3\) must lie between outside \(0.4\) and inside \(0.9\)"):
        FailureSettings(share=0.3, outside=0.4)
