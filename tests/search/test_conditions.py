"""Objectives and constraints: hand-computed values, closed forms against sampling, and refusals."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from materia.errors import ConfigError, SearchError
from materia.search import Beliefs, Conditions, Constraint, Objective

GAP = Objective(quantity="gap_pbe", window=(0.7, 1.3), weight=2.0)
HULL = Objective(quantity="energy_above_hull", goal="minimize")
RISK = Objective(quantity="supply_risk", goal="minimize", weight=0.5)
STABLE = Constraint(quantity="energy_above_hull", below=0.1)
SAFE = Constraint(quantity="supply_risk", below=0.4)


@pytest.fixture
def conditions() -> Conditions:
    return Conditions([GAP, HULL, RISK], [STABLE, SAFE])


def beliefs(**columns: tuple[float, float]) -> Beliefs:
    return Beliefs({q: ([mean], [std]) for q, (mean, std) in columns.items()})


def test_a_hit_and_its_losses(conditions: Conditions) -> None:
    verdict = conditions.evaluate({"gap_pbe": 1.3, "energy_above_hull": 0.1, "supply_risk": 0.2})
    assert verdict.hit  # edges belong to the window and to the bound
    assert verdict.losses == {"gap_pbe": 0.0, "energy_above_hull": 0.1, "supply_risk": 0.2}
    assert verdict.total_loss == pytest.approx(0.1 + 0.5 * 0.2)
    assert verdict.violations["energy_above_hull below 0.1"] == pytest.approx(0.0)
    assert verdict.violations["supply_risk below 0.4"] == pytest.approx(-0.2)


def test_a_miss_says_by_how_much(conditions: Conditions) -> None:
    verdict = conditions.evaluate({"gap_pbe": 0.5, "energy_above_hull": 0.25, "supply_risk": 0.2})
    assert not verdict.hit
    assert verdict.losses["gap_pbe"] == pytest.approx(0.2)
    assert verdict.total_loss == pytest.approx(2 * 0.2 + 0.25 + 0.5 * 0.2)
    assert verdict.miss == pytest.approx({"gap_pbe": 0.2, "energy_above_hull": 0.15, "supply_risk": 0.0})


def test_maximize_turns_the_sign_and_is_no_condition() -> None:
    wide = Conditions([Objective(quantity="gap_pbe", goal="maximize")])
    verdict = wide.evaluate({"gap_pbe": 2.5})
    assert verdict.losses == {"gap_pbe": -2.5}
    assert verdict.hit
    assert wide.probability(beliefs(gap_pbe=(0.0, 1.0))) == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_values_must_be_there(conditions: Conditions, value: float | None) -> None:
    values = {"gap_pbe": 1.0, "energy_above_hull": 0.0}
    if value is not None:
        values["supply_risk"] = value
    with pytest.raises(SearchError, match="supply_risk"):
        conditions.evaluate(values)


def test_probability_by_hand(conditions: Conditions) -> None:
    b = beliefs(gap_pbe=(1.0, 0.3), energy_above_hull=(0.1, 0.05), supply_risk=(0.3, 0.0))
    # one standard deviation to either edge; half; certain
    assert conditions.probability(b)[0] == pytest.approx(0.6826894921 * 0.5, rel=1e-9)
    parts = conditions.log_probabilities(b)
    assert np.exp(parts["gap_pbe"][0]) == pytest.approx(0.6826894921, rel=1e-9)
    assert np.exp(parts["supply_risk"][0]) == 1.0


def test_known_values_are_all_or_nothing(conditions: Conditions) -> None:
    inside = beliefs(gap_pbe=(1.0, 0.0), energy_above_hull=(0.1, 0.0), supply_risk=(0.4, 0.0))
    outside = beliefs(gap_pbe=(1.0, 0.0), energy_above_hull=(0.1, 0.0), supply_risk=(0.4001, 0.0))
    assert conditions.probability(inside)[0] == 1.0
    assert conditions.probability(outside)[0] == 0.0


def test_a_window_at_the_floor_takes_the_metals_in() -> None:
    metals = Conditions([Objective(quantity="gap_pbe", window=(0.0, 0.5))])
    # a gap is never negative: what the Gaussian puts below 0 is a gap of 0
    assert metals.probability(beliefs(gap_pbe=(0.0, 1.0)))[0] == pytest.approx(norm.cdf(0.5))
    assert metals.probability(beliefs(gap_pbe=(-3.0, 0.0)))[0] == 1.0
    insulators = Conditions([Objective(quantity="gap_pbe", window=(0.5, 9.0))])
    total = metals.probability(beliefs(gap_pbe=(0.2, 0.7))) + insulators.probability(beliefs(gap_pbe=(0.2, 0.7)))
    assert total[0] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("mean", [-60.0, 60.0])
def test_hopeless_candidates_still_have_an_order(mean: float) -> None:
    conditions = Conditions([Objective(quantity="energy_above_hull", window=(-0.1, 0.1))])
    nearer = conditions.log_probabilities(beliefs(energy_above_hull=(mean * 0.9, 1.0)))["energy_above_hull"]
    farther = conditions.log_probabilities(beliefs(energy_above_hull=(mean, 1.0)))["energy_above_hull"]
    assert np.isfinite(farther) and farther < nearer  # both are 0 as plain probabilities
    edge = abs(mean) - 0.1
    assert farther[0] == pytest.approx(norm.logsf(edge), rel=1e-3)


def test_conditions_on_one_quantity_are_intersected() -> None:
    both = Conditions(
        [Objective(quantity="energy_above_hull", window=(-1.0, 0.2))],
        [Constraint(quantity="energy_above_hull", below=0.0), Constraint(quantity="energy_above_hull", above=-0.5)],
    )
    assert both.intervals == {"energy_above_hull": (-0.5, 0.0)}
    b = beliefs(energy_above_hull=(0.0, 0.5))
    assert both.probability(b)[0] == pytest.approx(norm.cdf(0.0) - norm.cdf(-1.0), rel=1e-9)


@pytest.mark.parametrize(
    ("objective", "mean", "std"),
    [
        (GAP, 1.0, 0.4),
        (GAP, 0.1, 0.5),  # much of the Gaussian lies below zero, where the gap is zero
        (GAP, 3.0, 0.2),
        (Objective(quantity="gap_pbe", goal="minimize"), 0.1, 0.5),
        (Objective(quantity="gap_pbe", goal="maximize"), 0.1, 0.5),
        (HULL, -0.2, 0.3),
        (Objective(quantity="energy_above_hull", window=(-0.3, 0.0)), 0.1, 0.3),
    ],
)
def test_expected_loss_is_the_mean_of_losses(objective: Objective, mean: float, std: float) -> None:
    conditions = Conditions([objective])
    name = objective.quantity
    draws = np.random.default_rng(0).normal(mean, std, 200_000)
    if name == "gap_pbe":
        draws = np.maximum(draws, 0.0)
    if objective.window is not None:
        low, high = objective.window
        losses = np.maximum(np.maximum(low - draws, draws - high), 0.0)
    else:
        losses = draws if objective.goal == "minimize" else -draws
    expected = conditions.expected_losses(beliefs(**{name: (mean, std)}))[name][0]
    assert expected == pytest.approx(losses.mean(), abs=4 * losses.std() / math.sqrt(len(draws)))


@pytest.mark.parametrize("value", [-0.4, 0.0, 0.5, 0.7, 1.0, 1.3, 2.0])
def test_certain_beliefs_cost_what_the_value_costs(value: float) -> None:
    conditions = Conditions([GAP])
    certain = conditions.expected_losses(beliefs(gap_pbe=(value, 0.0)))["gap_pbe"][0]
    assert certain == pytest.approx(conditions.evaluate({"gap_pbe": max(value, 0.0)}).losses["gap_pbe"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"quantity": "band_gap", "goal": "minimize"}, "unknown quantity 'band_gap'"),
        ({"quantity": "gap_pbe"}, "exactly one of window or goal"),
        ({"quantity": "gap_pbe", "goal": "minimize", "window": [0, 1]}, "exactly one of window or goal"),
        ({"quantity": "gap_pbe", "window": [1.3, 0.7]}, "low < high"),
        ({"quantity": "gap_pbe", "window": [0.7, 1.3], "weight": 0}, "weight"),
        ({"quantity": "gap_pbe", "window": [0.7, 1.3], "wieght": 1}, "wieght"),
    ],
)
def test_objectives_refuse(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Objective.model_validate(given)


def test_constraints_refuse() -> None:
    with pytest.raises(ValidationError, match="exactly one of below or above"):
        Constraint.model_validate({"quantity": "gap_pbe", "below": 1, "above": 0})


def test_conditions_refuse() -> None:
    with pytest.raises(ConfigError, match="no objective"):
        Conditions([], [STABLE])
    with pytest.raises(ConfigError, match="two objectives on gap_pbe"):
        Conditions([GAP, Objective(quantity="gap_pbe", goal="maximize")])
    with pytest.raises(ConfigError, match="no value of gap_pbe"):
        Conditions([GAP], [Constraint(quantity="gap_pbe", above=1.4)])
    with pytest.raises(ConfigError, match="no value of supply_risk"):
        Conditions([RISK], [Constraint(quantity="supply_risk", below=-0.1)])


def test_beliefs_refuse() -> None:
    with pytest.raises(SearchError, match="shape"):
        Beliefs({"gap_pbe": ([1.0, 2.0], [0.1, 0.1]), "supply_risk": ([1.0], [0.0])})
    with pytest.raises(SearchError, match="negative std"):
        Beliefs({"gap_pbe": ([1.0], [-0.1])})
    with pytest.raises(SearchError, match="nothing is predicted about 'supply_risk'"):
        Conditions([RISK]).expected_losses(Beliefs({"gap_pbe": ([1.0], [0.1])}))
