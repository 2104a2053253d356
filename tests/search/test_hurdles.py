"""What lies at its physical bound or somewhere above: by hand, against sampling, and in what searches make of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import norm

from materia.errors import SearchError
from materia.search import Beliefs, Conditions, Hurdle, Objective


def gap(chance: float, mean: float, std: float) -> Beliefs:
    hurdle = Hurdle(*(np.array([x]) for x in (chance, mean, std)))
    column = (chance * hurdle.mean, 0.5)  # of all together: probabilities do not follow it
    return Beliefs({"gap_pbe": column}, {"gap_pbe": hurdle})


def window(low: float, high: float) -> Conditions:
    return Conditions([Objective(quantity="gap_pbe", window=(low, high))])


def test_a_window_above_the_bound_needs_both() -> None:
    # open with 0.4, and then one standard deviation to either edge
    assert window(0.7, 1.3).probability(gap(0.4, 1.0, 0.3))[0] == pytest.approx(0.4 * 0.6826894921)
    assert window(0.7, 1.3).probability(gap(0.0, 1.0, 0.3))[0] == 0.0
    assert window(0.7, 1.3).probability(gap(1.0, 1.0, 0.0))[0] == 1.0


def test_a_window_at_the_bound_takes_what_is_there() -> None:
    belief = gap(0.4, 1.0, 0.5)
    below, above = window(0.0, 0.8).probability(belief)[0], window(0.8, 50.0).probability(belief)[0]
    assert below == pytest.approx(0.6 + 0.4 * norm.cdf(0.8, 1.0, 0.5))
    assert below + above == pytest.approx(1.0)
    assert window(0.0, 0.8).probability(gap(0.0, 1.0, 0.5))[0] == 1.0


def test_the_far_tail_keeps_its_order() -> None:
    logs = [window(50.0, 51.0).log_probability(gap(0.5, mean, 0.5))[0] for mean in (1.0, 2.0)]
    assert np.isfinite(logs).all() and logs[0] < logs[1] < -1000


def test_it_tells_a_metal_from_a_small_gap() -> None:
    """Two beliefs with the same mean: one says half a metal, the other a gap of just that size."""
    half, even = gap(0.5, 1.0, 0.1), Beliefs({"gap_pbe": gap(0.5, 1.0, 0.1).column("gap_pbe")})
    assert window(0.8, 1.2).probability(half)[0] == pytest.approx(0.5 * (2 * norm.cdf(2) - 1))
    assert window(0.4, 0.6).probability(half)[0] < 1e-4 < 0.1 < window(0.4, 0.6).probability(even)[0]


def test_some_rows_keep_theirs() -> None:
    whole = Hurdle(np.array([0.1, 0.5, 0.9]), np.full(3, 1.0), np.full(3, 0.3))
    beliefs = Beliefs({"gap_pbe": (np.ones(3), 0.5), "supply_risk": ([0.1, 0.2, 0.3], 0.0)}, {"gap_pbe": whole})
    every = window(0.7, 1.3).probability(beliefs)
    for index in (np.array([2, 0]), np.array([True, False, True])):
        np.testing.assert_array_equal(window(0.7, 1.3).probability(beliefs.rows(index)), every[index])
    assert beliefs.hurdle("supply_risk") is None


def test_what_is_kept_of_a_candidate_says_the_same() -> None:
    """A pick's predictions: plain data in the database, from which chances are reckoned again."""
    asked = Conditions(
        [Objective(quantity="gap_pbe", window=(0.7, 1.3)), Objective(quantity="supply_risk", goal="minimize")]
    )
    whole = Hurdle(np.array([0.1, 0.5]), np.array([1.0, 1.2]), np.array([0.3, 0.2]))
    beliefs = Beliefs({"gap_pbe": (np.ones(2), 0.5), "supply_risk": ([0.1, 0.2], 0.0)}, {"gap_pbe": whole})
    for i in range(2):
        kept = json.loads(json.dumps(beliefs.at(i)))
        assert kept["supply_risk"].keys() == {"mean", "std"}
        assert asked.chances(kept) == {"gap_pbe": pytest.approx(asked.probability(beliefs)[i])}
        plain = {"gap_pbe": {"mean": 1.0, "std": 0.5}}  # as campaigns of older versions kept it
        assert asked.chances(plain)["gap_pbe"] == pytest.approx(norm.cdf(0.6) - norm.cdf(-0.6))


def test_one_of_nothing_or_of_others_is_refused() -> None:
    two = Hurdle(np.full(2, 0.5), np.ones(2), np.ones(2))
    with pytest.raises(SearchError, match="hurdle of 'gap_pbe'"):
        Beliefs({"supply_risk": ([0.1, 0.2], 0.0)}, {"gap_pbe": two})
    with pytest.raises(SearchError, match="believed of 3 candidates"):
        Beliefs({"gap_pbe": ([0.1, 0.2, 0.3], 0.1)}, {"gap_pbe": two})


def test_the_most_that_is_known_of_a_quantity() -> None:
    hurdle = Hurdle(np.array([0.5]), np.array([1.0]), np.array([0.2]))
    both = Beliefs({"gap_pbe": ([0.6], [0.5]), "volume_per_atom": ([20.0], [1.0])}, {"gap_pbe": hurdle})
    assert both.uncertain("gap_pbe") is both.hurdle("gap_pbe")
    mean, std = both.uncertain("volume_per_atom")
    assert (mean[0], std[0]) == (20.0, 1.0)
