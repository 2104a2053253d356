"""The final order, and the small rules about rounds and slots."""

import pytest
from pydantic import ValidationError

from materia.search import Conditions, Constraint, Entry, Objective, SearchSettings, finished, rank

CONDITIONS = Conditions(
    [Objective(quantity="gap_pbe", window=(0.7, 1.3)), Objective(quantity="energy_above_hull", goal="minimize")],
    [Constraint(quantity="energy_above_hull", below=0.1)],
)


def computed(name: str, gap: float, hull: float) -> Entry:
    return Entry(name, values={"gap_pbe": gap, "energy_above_hull": hull})


def predicted(name: str, gap: float, hull: float, *, failed: bool = False) -> Entry:
    beliefs = {"gap_pbe": {"mean": gap, "std": 0.3}, "energy_above_hull": {"mean": hull, "std": 0.05}}
    return Entry(name, predictions=beliefs, failed=failed)


def test_hits_then_near_misses_then_promises_then_failures() -> None:
    order = [
        computed("hit, most stable", 1.2, -0.05),
        computed("hit", 1.0, 0.08),
        computed("one miss, near", 1.35, 0.05),
        computed("one miss, far", 2.0, 0.0),
        computed("two misses", 1.35, 0.2),
        predicted("promising", 1.0, 0.0),
        predicted("unlikely", 2.0, 0.2),
        predicted("failed", 1.0, 0.0, failed=True),
    ]
    ranked = rank(order[::-1], CONDITIONS)
    assert [r.entry.id for r in ranked] == [e.id for e in order]
    assert [r.rank for r in ranked] == list(range(1, 9))
    assert [r.hit for r in ranked] == [True, True] + [False] * 6
    # losses: (0, -.05), (0, .08), (.05, .05), (.7, 0), (.05, .2)
    assert [r.pareto for r in ranked] == [1, 2, 2, 2, 3, None, None, None]
    assert [r.probability for r in ranked[:3]] == [1.0, 1.0, 0.0]
    assert ranked[5].probability == pytest.approx(0.6827 * 0.9772, rel=1e-3)


def test_the_probability_of_a_computed_one_is_what_was_believed_at_its_pick() -> None:
    both = Entry("x", computed("x", 1.0, 0.0).values, predicted("x", 2.0, 0.2).predictions)
    (row,) = rank([both], CONDITIONS)
    assert row.hit
    assert row.probability < 0.05


def test_equal_losses_stand_by_probability_then_id() -> None:
    values = {"gap_pbe": 1.0, "energy_above_hull": 0.0}
    likely = Entry("z", values, predicted("z", 1.0, 0.0).predictions)
    unlikely = Entry("a", values, predicted("a", 2.0, 0.2).predictions)
    assert [r.entry.id for r in rank([unlikely, likely], CONDITIONS)] == ["z", "a"]
    assert [r.entry.id for r in rank([Entry("b", values), Entry("a", values)], CONDITIONS)] == ["a", "b"]
    assert rank([], CONDITIONS) == []


def test_exploration_is_an_exact_share() -> None:
    settings = SearchSettings(batch=4, exploration=0.2)
    places = [(r, s) for r in range(5) for s in range(4) if settings.explores(r, s)]
    assert places == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert not any(SearchSettings(exploration=0).explores(r, s) for r in range(5) for s in range(4))
    assert all(SearchSettings(exploration=1).explores(r, s) for r in range(5) for s in range(4))


def test_settings_refuse_and_rounds_end() -> None:
    for wrong in ({"batch": 0}, {"rounds": 0}, {"diversity": 1.5}, {"max_cost_s": 0}, {"acquisiton": "ehvi"}):
        with pytest.raises(ValidationError):
            SearchSettings.model_validate(wrong)
    assert finished(SearchSettings(rounds=3), 2) == ""
    assert finished(SearchSettings(rounds=3), 3) == "all 3 rounds are closed"
