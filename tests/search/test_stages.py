"""Cheap before dear: rates by hand, the best order on small problems, and replays with two costs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest

from materia.crystal import Crystal
from materia.errors import ConfigError, SearchError
from materia.search import Conditions, Constraint, Hurdle, Objective, gain_of_both, gain_of_dear
from materia.search.replay import KnownPool, Learned, Stages, play_by_gain, play_ladder
from materia.search.replay._staged import CHEAP, DEAR
from materia.search.replay.forest import ForestLearner

WANTED = Conditions([Objective(quantity="gap_hse06", window=(1.0, 2.0))])


def test_rates_by_hand() -> None:
    """Costs 1 and 10. Results leave chances of 0.8 and 0: climbing after the first alone gives 0.4 hits for 1 + 5."""
    rates = gain_of_both(np.array([[0.0, 0.8], [0.5, 0.5], [0.0, 0.0]]), 1.0, 10.0)
    assert rates == pytest.approx([0.4 / 6, 0.5 / 11, 0.0])
    assert gain_of_dear(np.array([0.5, 0.0]), 10.0) == pytest.approx([0.05, 0.0])
    assert rates[0] > gain_of_dear(np.array([0.5]), 10.0)[0]  # to look first can be better than half a chance now


def test_likely_results_count_for_more() -> None:
    """One in four leaves a chance of 0.8: 0.2 hits for 1 + 2.5. A result in two halves is one result."""
    weights = np.array([[0.75, 0.25]])
    rate = gain_of_both(np.array([[0.0, 0.8]]), 1.0, 10.0, weights)
    assert rate == pytest.approx([0.2 / 3.5])
    halves = gain_of_both(np.array([[0.8, 0.0, 0.8]]), 1.0, 10.0, np.array([[0.125, 0.75, 0.125]]))
    assert halves == pytest.approx(rate)


def test_results_that_say_nothing_cost_something() -> None:
    """A cheap calculation after which the chance is what it was is pure loss."""
    chances = np.full((1, 9), 0.3)
    both, dear = gain_of_both(chances, 1.0, 10.0)[0], gain_of_dear(np.array([0.3]), 10.0)[0]
    assert both == pytest.approx(0.3 / 11)
    assert both < dear


@pytest.mark.parametrize("costs", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_costs_are_positive(costs: tuple[float, float]) -> None:
    with pytest.raises(SearchError, match="not positive"):
        gain_of_both(np.ones((1, 2)), *costs)


def test_no_other_rule_gives_more_for_the_cost() -> None:
    """Against every set of results after which one could climb."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        chances, cheap, dear = rng.random(5), rng.uniform(0.1, 2), rng.uniform(1, 20)
        rules = [list(rule) for k in range(1, 6) for rule in combinations(range(5), k)]
        best = max(chances[rule].sum() / 5 / (cheap + dear * len(rule) / 5) for rule in rules)
        assert gain_of_both(chances[None], cheap, dear)[0] == pytest.approx(best)


@pytest.fixture(scope="module")
def pool() -> KnownPool:
    """240 rock salts whose HSE06 gap is the PBE gap and a half; PBE gaps grow with the anion's number."""
    fcc = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cations = (
        "Li",
        "Na",
        "K",
        "Rb",
        "Mg",
        "Ca",
        "Sr",
        "Ba",
        "Zn",
        "Cd",
        "Al",
        "Ga",
        "In",
        "Sc",
        "Y",
        "Cu",
        "Ag",
        "Tl",
        "Pb",
        "Sn",
    )
    anions = ("N", "P", "As", "Sb", "O", "S", "Se", "Te", "F", "Cl", "Br", "I")
    rng, names = np.random.default_rng(0), [(a, b) for a in cations for b in anions]
    crystals = tuple(Crystal.from_species(fcc * 5.5, pair, [[0, 0, 0], [0.5] * 3]) for pair in names)
    pbe = np.array([max(0.0, 0.25 * anions.index(b) - 0.3 + rng.normal(0, 0.2)) for _, b in names])
    hse = np.where(pbe > 0, pbe + 0.5 + rng.normal(0, 0.1, len(names)), 0.0)
    values = {"gap_pbe_mp": pbe, "gap_hse06": np.maximum(hse, 0.0)}
    n = len(names)
    return KnownPool(tuple(map("".join, names)), crystals, ("rocksalt",) * n, np.full(n, 225), values)


STAGES = Stages("gap_pbe_mp", "gap_hse06", 1.0, 10.0, start=20, batch=8, trees=20)


def test_a_run_by_gain_finds_what_is_wanted_and_counts_its_costs(pool: KnownPool) -> None:
    run = play_by_gain(pool, WANTED, STAGES, 0)
    hits = pool.hits(WANTED)
    assert run.reached
    assert len(set(run.steps)) == len(run.steps)  # nothing twice
    cheap = [i for i, stage in run.steps if stage == CHEAP]
    for at, (i, stage) in enumerate(run.steps):
        if stage == DEAR:
            assert (i, CHEAP) in run.steps[:at]  # the cheap one first
    found = np.cumsum([stage == DEAR and hits[i] for i, stage in run.steps])
    last = found.tolist().index(int(np.ceil(hits.sum() / 2)))
    assert run.cost == sum(10.0 if stage == DEAR else 1.0 for _, stage in run.steps[: last + 1])
    assert len(cheap) < len(pool)
    assert play_by_gain(pool, WANTED, STAGES, 0) == run


def test_a_ladder_climbs_inside_its_window_alone(pool: KnownPool) -> None:
    run = play_ladder(pool, WANTED, STAGES, 0, (0.5, 1.5))
    pbe = pool.values["gap_pbe_mp"]
    climbed = {i for i, stage in run.steps[40:] if stage == DEAR}
    assert climbed and all(0.5 <= pbe[i] <= 1.5 for i in climbed)
    assert run.reached
    blind = play_ladder(pool, WANTED, STAGES, 0, (2.4, 2.5))  # no hit has such a PBE gap
    assert not blind.reached
    assert blind.cost == sum(10.0 if stage == DEAR else 1.0 for _, stage in blind.steps)


def test_conditions_on_anything_else_are_refused(pool: KnownPool) -> None:
    asked = Conditions([Objective(quantity="gap_hse06", window=(1, 2))], [Constraint(quantity="gap_pbe_mp", above=0.1)])
    with pytest.raises(ConfigError, match="only gap_hse06 may have one"):
        play_by_gain(pool, asked, STAGES, 0)


class Told(ForestLearner):
    """Is told the PBE gaps."""

    def matrix(self, pool: KnownPool) -> np.ndarray:
        return pool.values["gap_pbe_mp"][:, None].astype(np.float32)


@pytest.mark.parametrize("window", [None, (0.5, 1.5)], ids=["by gain", "ladder"])
def test_who_is_told_more_finds_the_hits_for_less(pool: KnownPool, window: tuple[float, float] | None) -> None:
    def cost(seed: int, told: bool) -> float:
        learner = Told(trees=20) if told else None
        if window is None:
            answer = pool.values["gap_pbe_mp"][:, None].astype(np.float32) if told else None
            return play_by_gain(pool, WANTED, STAGES, seed, learner, answer).cost
        return play_ladder(pool, WANTED, STAGES, seed, window, learner).cost

    assert np.mean([cost(s, True) for s in range(3)]) < np.mean([cost(s, False) for s in range(3)])


class Apart:
    """Knows of every candidate whether it has a PBE gap, nearly for sure, and nothing of how large it is."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, np.ndarray], seed: int) -> Learned:
        self.asked.append(rows.tolist())
        assert (labels["gap_pbe_mp"] == pool.values["gap_pbe_mp"][rows]).all()
        n, chance = len(pool), np.where(pool.values["gap_pbe_mp"] > 0, 0.95, 0.05)
        nothing = (np.full(n, 0.8), np.full(n, 0.8))  # which alone would take no candidate before another
        hurdle = Hurdle(chance, np.full(n, 1.2), np.full(n, 0.7))
        return Learned({"gap_pbe_mp": nothing}, None, {"gap_pbe_mp": hurdle})


@pytest.mark.parametrize("window", [None, (0.0, 0.4)], ids=["by gain", "ladder"])
def test_a_chance_to_be_a_metal_is_looked_at(pool: KnownPool, window: tuple[float, float] | None) -> None:
    """By gain metals, none of which is a hit, come last; in a window that begins at 0 they come first."""
    learner, metal = Apart(), pool.values["gap_pbe_mp"] == 0
    if window is None:
        run = play_by_gain(pool, WANTED, STAGES, 0, learner)
    else:
        run = play_ladder(pool, WANTED, STAGES, 0, window, learner)
    order = [i for i, stage in run.steps if stage == CHEAP]
    assert all(rows == order[: len(rows)] for rows in learner.asked)  # in the order they were computed
    blank = metal.sum() - metal[order[: STAGES.start]].sum()
    first = order[STAGES.start : STAGES.start + int(blank)]
    assert len(first) > 20
    assert metal[first].all() if window else not metal[first].any()
