"""Conformance tests for acquisitions, ours and anybody's. Needs nothing but pytest to run them."""

from __future__ import annotations

import numpy as np

from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions
from materia.search._settings import Constraint, Objective
from materia.search.acquisitions import Acquisition, Situation


def situation(seed: int = 0, *, n: int = 40, pending: tuple[int, ...] = (3,)) -> Situation:
    """A small situation: a window on the gap, a bound on the hull distance, exact supply risk, three results."""
    rng = np.random.default_rng(99)
    beliefs = Beliefs(
        {
            "gap_pbe": (rng.uniform(0, 4, n), rng.uniform(0.1, 0.6, n)),
            "energy_above_hull": (rng.normal(0.1, 0.2, n), rng.uniform(0.02, 0.1, n)),
            "supply_risk": (rng.uniform(0, 1, n), np.zeros(n)),
        }
    )
    conditions = Conditions(
        [
            Objective(quantity="gap_pbe", window=(0.7, 1.3)),
            Objective(quantity="energy_above_hull", goal="minimize"),
            Objective(quantity="supply_risk", goal="minimize"),
        ],
        [
            Constraint(quantity="energy_above_hull", below=0.1),
            Constraint(quantity="supply_risk", below=0.6),
        ],
    )
    eligible = np.ones(n, dtype=bool)
    eligible[list(pending)] = False
    observed = np.array([[0.0, 0.05, 0.4], [0.4, -0.02, 0.3], [0.1, 0.08, 0.1]])
    formulas = [("GaAs", "CuInSe2", "SiO2", "FeS", "NaCl")[i % 5] for i in range(n)]
    return Situation(beliefs, conditions, eligible, pending, observed, np.random.default_rng(seed), formulas=formulas)


class AcquisitionConformance:
    """Inherit, and give a fixture ``acquisition`` that returns an instance."""

    def test_one_logarithm_for_each_candidate(self, acquisition: Acquisition) -> None:
        factors = acquisition(situation())
        assert factors
        for name, column in factors.items():
            assert name != "total"
            assert column.shape == (40,)
            assert column.dtype == np.float64
            assert not np.isnan(column).any()
            assert not np.isposinf(column).any()

    def test_it_tells_candidates_apart(self, acquisition: Acquisition) -> None:
        total = np.sum(list(acquisition(situation()).values()), axis=0)
        assert len(np.unique(total)) > 5

    def test_same_seed_same_values(self, acquisition: Acquisition) -> None:
        first, second = acquisition(situation(seed=5)), acquisition(situation(seed=5))
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])

    def test_no_pending_and_no_results_will_do(self, acquisition: Acquisition) -> None:
        given = situation(pending=())
        bare = Situation(
            given.beliefs,
            given.conditions,
            given.eligible,
            (),
            np.empty((0, 3)),
            np.random.default_rng(0),
            formulas=given.formulas,
        )
        for column in acquisition(bare).values():
            assert not np.isnan(column).any()

    def test_one_candidate_will_do(self, acquisition: Acquisition) -> None:
        for column in acquisition(situation(n=1, pending=())).values():
            assert column.shape == (1,)
            assert not np.isnan(column).any()

    def test_what_it_is_given_stays_as_it_is(self, acquisition: Acquisition) -> None:
        given, same = situation(), situation()
        acquisition(given)
        np.testing.assert_array_equal(given.eligible, same.eligible)
        np.testing.assert_array_equal(given.observed, same.observed)
        for name in same.beliefs.quantities:
            np.testing.assert_array_equal(given.beliefs.column(name), same.beliefs.column(name))

    def test_the_order_of_candidates_does_not_matter(self, acquisition: Acquisition) -> None:
        """Deterministic acquisitions only depend on each candidate's own beliefs and on the set of the rest."""
        given = situation(pending=())
        if not _deterministic(acquisition):
            return
        order = np.random.default_rng(1).permutation(40)
        shuffled = Beliefs(
            {q: tuple(part[order] for part in given.beliefs.column(q)) for q in given.beliefs.quantities}  # type: ignore[misc]
        )
        turned = Situation(shuffled, given.conditions, given.eligible, (), given.observed, np.random.default_rng(0))
        expected, found = acquisition(given), acquisition(turned)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name][order], rtol=1e-9, atol=1e-9)


def _deterministic(acquisition: Acquisition) -> bool:
    first, second = acquisition(situation(seed=1)), acquisition(situation(seed=2))
    return all(np.array_equal(first[name], second[name]) for name in first)
