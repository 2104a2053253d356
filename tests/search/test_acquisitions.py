"""Every acquisition against the public conformance tests; EHVI against hand and sampling; Pareto arithmetic."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from materia.errors import ConfigError, SearchError
from materia.search import Beliefs, Conditions, Constraint, Objective, PoolView, SearchSettings
from materia.search._improvement import expected_improvement
from materia.search._pareto import front, hypervolume, open_cells, ranks
from materia.search._score import choose
from materia.search.acquisitions import Situation, load, names
from materia.search.testing import AcquisitionConformance


@pytest.fixture(params=names())
def acquisition(request: pytest.FixtureRequest) -> object:
    return load(request.param)


class TestConformance(AcquisitionConformance):
    pass


def test_all_are_found_by_entry_point() -> None:
    assert {"probability", "ehvi", "thompson", "ucb", "spread", "random", "greedy"} <= set(names())
    with pytest.raises(ConfigError, match=r"use one of: .*probability"):
        load("probabilty")


HULL = Objective(quantity="energy_above_hull", goal="minimize")
ENERGY = Objective(quantity="formation_energy_per_atom", goal="minimize")
GAP = Objective(quantity="gap_pbe", window=(0.7, 1.3))


def column(mean: float, std: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([mean]), np.array([std])


def test_one_objective_is_expected_improvement() -> None:
    mean, std, best = 0.2, 0.3, 0.1
    z = (best - mean) / std
    by_hand = std * (z * norm.cdf(z) + norm.pdf(z))
    value = expected_improvement((HULL,), [column(mean, std)], np.array([[best]]), np.array([5.0]))
    assert value[0] == pytest.approx(by_hand, rel=1e-12)


def test_two_certain_objectives_are_rectangles() -> None:
    points = np.array([[1.0, 3.0], [3.0, 1.0]])
    reference = np.array([4.0, 4.0])
    # (2, 2) adds the square between (1, 3) and (3, 1): [2, 3] x [2, 3]
    value = expected_improvement((HULL, ENERGY), [column(2.0, 0.0), column(2.0, 0.0)], points, reference)
    assert value[0] == pytest.approx(1.0)
    # (0, 0) dominates all: 16 minus the 3 + 3 - 1 = 5 there already
    value = expected_improvement((HULL, ENERGY), [column(0.0, 0.0), column(0.0, 0.0)], points, reference)
    assert value[0] == pytest.approx(11.0)
    value = expected_improvement((HULL, ENERGY), [column(3.5, 0.0), column(3.5, 0.0)], points, reference)
    assert value[0] == 0.0


@pytest.mark.parametrize("gap", [(1.0, 0.3), (0.1, 0.5), (2.5, 0.8)])
@pytest.mark.parametrize("hull", [(0.0, 0.2), (0.4, 0.1)])
def test_ehvi_against_sampling(gap: tuple[float, float], hull: tuple[float, float]) -> None:
    risk = Objective(quantity="supply_risk", goal="minimize")
    points = np.array([[0.0, 0.3, 0.3], [0.5, 0.05, 0.4], [0.2, 0.2, 0.1]])
    reference = np.array([1.0, 0.5, 0.6])
    columns = [column(*gap), column(*hull), column(0.25, 0.0)]
    value = expected_improvement((GAP, HULL, risk), columns, points, reference)[0]
    rng = np.random.default_rng(1)
    gaps = np.maximum(rng.normal(*gap, 1000), 0.0)
    losses = np.stack(
        [np.maximum(np.maximum(0.7 - gaps, gaps - 1.3), 0.0), rng.normal(*hull, 1000), np.full(1000, 0.25)],
        axis=1,
    )
    before = hypervolume(points, reference)
    gains = np.array([hypervolume(np.vstack([points, row]), reference) - before for row in losses])
    assert value == pytest.approx(gains.mean(), abs=4 * gains.std() / math.sqrt(len(gains)) + 1e-9)


def test_maximize_mirrors_minimize() -> None:
    up = Objective(quantity="formation_energy_per_atom", goal="maximize")
    args = np.array([[-0.1]]), np.array([2.0])
    assert expected_improvement((up,), [column(0.3, 0.2)], *args) == pytest.approx(
        expected_improvement((ENERGY,), [column(-0.3, 0.2)], *args)
    )


def test_cells_fill_what_is_open() -> None:
    rng = np.random.default_rng(3)
    points, reference, corner = rng.random((7, 3)), np.ones(3), np.zeros(3)
    lower, upper = open_cells(points, reference)
    lower = np.maximum(lower, corner)
    draws = rng.random((20_000, 3))
    covered = (draws[:, None] >= lower).all(-1) & (draws[:, None] < upper).all(-1)
    dominated = (draws[:, None] >= points).all(-1).any(-1)
    assert np.array_equal(covered.sum(axis=1), (~dominated).astype(int))  # once where open, never elsewhere
    assert hypervolume(points, reference) == pytest.approx(dominated.mean(), abs=0.02)


def test_pareto_ranks() -> None:
    losses = np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 2.0], [1.0, 1.0], [3.0, 3.0]])
    assert ranks(losses).tolist() == [1, 1, 2, 1, 3]
    assert front(losses).tolist() == [[0.0, 2.0], [1.0, 1.0]]


def pool(gap: list[float], **more: object) -> PoolView:
    n = len(gap)
    conditions = Conditions([GAP], [Constraint(quantity="supply_risk", below=0.5)])
    risk = more.pop("risk", np.zeros(n))
    beliefs = Beliefs({"gap_pbe": (gap, np.full(n, 0.3)), "supply_risk": (risk, np.zeros(n))})
    return PoolView(n, conditions, beliefs, **more)  # type: ignore[arg-type]


def pick(view: PoolView, *, pending: tuple[int, ...] = (), name: str = "probability", **settings: object):
    free = np.ones(view.n, dtype=bool)
    free[list(pending)] = False
    return choose(
        view,
        SearchSettings(**settings),
        name,
        free=free,
        pending=pending,
        observed=np.empty((0, 1)),
        rng=np.random.default_rng(0),
    )


def test_the_most_probable_is_chosen_and_the_parts_multiply_up() -> None:
    view = pool(
        [0.2, 1.0, 1.2],
        cost=np.array([10.0, 40.0, 10.0]),
        success=np.array([1.0, 0.5, 0.9]),
        embedding=np.array([[0.0], [1.0], [5.0]]),
        groups={"prototype": ["a", "b", "b"]},
    )
    choice = pick(view, pending=(0,))
    parts = {k: v for k, v in choice.score.items() if k != "total"}
    assert choice.index == 2
    assert set(parts) == {"p_gap_pbe", "p_supply_risk", "novelty", "family", "success", "per_cost"}
    assert math.prod(parts.values()) == pytest.approx(choice.score["total"], rel=1e-12)


def test_exact_constraints_exclude_while_anything_else_is_possible() -> None:
    assert pick(pool([1.0, 3.0], risk=[0.9, 0.1])).index == 1


def test_where_nothing_is_possible_the_nearest_is_chosen() -> None:
    choice = pick(pool([1.0, 1.0, 1.0], risk=[0.9, 0.6, 0.8]))
    assert choice.index == 1
    assert choice.score["total"] == 0.0


def test_cost_and_success_shift_the_choice() -> None:
    gaps = [1.0, 1.05]
    assert pick(pool(gaps)).index == 0
    assert pick(pool(gaps, cost=np.array([100.0, 10.0]))).index == 1
    assert pick(pool(gaps, cost=np.array([100.0, 10.0])), cost_power=0.0).index == 0
    assert pick(pool(gaps, success=np.array([0.2, 0.9]))).index == 1


def test_pending_neighbours_and_relatives_are_discounted() -> None:
    near = pool([1.0, 1.0, 1.05], embedding=np.array([[0.0], [0.01], [9.0]]))
    assert pick(near, pending=(0,)).index == 2
    assert pick(near, pending=(0,), diversity=0.0).index == 1
    family = pool([1.0, 1.0, 1.05], groups={"prototype": ["zincblende", "zincblende", "rocksalt"]})
    assert pick(family, pending=(0,)).index == 2


def test_ehvi_with_a_bound_as_reference_counts_the_bound_once() -> None:
    conditions = Conditions([HULL], [Constraint(quantity="energy_above_hull", below=0.1)])
    beliefs = Beliefs({"energy_above_hull": ([0.1, 0.3], [0.2, 0.0])})
    situation = Situation(beliefs, conditions, np.ones(2, dtype=bool), (), np.empty((0, 1)), np.random.default_rng(0))
    factors = load("ehvi")(situation)
    assert set(factors) == {"ehvi"}
    assert np.exp(factors["ehvi"]) == pytest.approx([0.2 / math.sqrt(2 * math.pi), 0.0])


def test_ehvi_turns_away_from_what_is_pending() -> None:
    conditions = Conditions([HULL, ENERGY])
    beliefs = Beliefs(
        {
            "energy_above_hull": ([0.0, 0.01, 1.0, 2.0], np.full(4, 0.02)),
            "formation_energy_per_atom": ([1.0, 1.0, 0.2, 2.0], np.full(4, 0.02)),
        }
    )

    def values(pending: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng(0)
        return np.exp(
            load("ehvi")(Situation(beliefs, conditions, np.ones(4, bool), pending, np.empty((0, 2)), rng))["ehvi"]
        )

    alone, after = values(()), values((0,))
    assert alone[1] > alone[2]
    assert after[1] < 0.1 * after[2]


def test_a_plugin_that_answers_nan_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        adjusted = True

        def __call__(self, situation: Situation) -> dict[str, np.ndarray]:
            return {"value": np.full(situation.beliefs.n, np.nan)}

    monkeypatch.setattr("materia.search._score.load", lambda name: Broken())
    with pytest.raises(SearchError, match="acquisition 'broken': factor 'value'"):
        pick(pool([1.0]), name="broken")
