"""Distances to a hull of which some phases are only predicted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from materia.stability import ExpectedHull, Hull, HullEntry

MG_O, MG_O3 = {"Mg": 1, "O": 1}, {"Mg": 1, "O": 3}
KNOWN = Hull([HullEntry("MgO", MG_O, -1.0)])


def test_by_hand() -> None:
    """MgO is known at -1.0; predicted are itself at -1.05, a polymorph at -0.9, and two of MgO3 at -0.6 and -0.55."""
    expected = ExpectedHull(KNOWN, [MG_O, MG_O, MG_O3, MG_O3], [-1.05, -0.9, -0.6, -0.55], names=["MgO", *[None] * 3])
    # itself: to the polymorph, the best of the others there; the polymorph: to the known energy, not to -1.05
    # MgO3 at -0.6: to the other one, as the mixture of MgO and O has -0.5; at -0.55: to the one at -0.6
    assert expected.distances() == pytest.approx([-0.15, 0.1, -0.05, 0.05])
    assert expected.rivals(0) == [(1, pytest.approx(1.0))]
    assert expected.rivals(1) == [("MgO", pytest.approx(1.0))]
    assert expected.rivals(2) == [(3, pytest.approx(1.0))]


def test_a_mixture_of_known_and_expected_phases() -> None:
    """Mg3O2 between Mg and MgO known at -1.0: -0.8; with Mg2O expected at -0.9, three fifths of the atoms: -0.94."""
    compositions = [{"Mg": 3, "O": 2}, {"Mg": 2, "O": 1}]
    expected = ExpectedHull(KNOWN, compositions, [-0.85, -0.9])
    # fractions of oxygen: 2/5 lies between 1/3 (weight 0.6) and 1/2 (0.4)
    assert expected.distances()[0] == pytest.approx(-0.85 + 0.6 * 0.9 + 0.4 * 1.0)
    assert expected.rivals(0) == [(1, pytest.approx(0.6)), ("MgO", pytest.approx(0.4))]
    alone = ExpectedHull(KNOWN, compositions[:1], [-0.85])
    assert alone.distances()[0] == pytest.approx(-0.85 + 0.8)
    assert alone.rivals(0) == [("MgO", pytest.approx(0.8)), ("Mg", pytest.approx(0.2))]


def test_what_has_no_prediction_competes_with_nothing() -> None:
    found = ExpectedHull(KNOWN, [MG_O3, MG_O3], [float("nan"), -0.6]).distances()
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(-0.1)


candidates = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.floats(-2, 1)).filter(
        lambda row: sum(n > 0 for n in row[:3]) > 1
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=60, deadline=None)
@given(candidates, st.integers(0, 9), st.randoms(use_true_random=False))
def test_right_predictions_give_the_distances_of_the_whole_hull(rows, known, random) -> None:
    """Whatever part of it is known, and in whatever order the candidates are."""
    random.shuffle(rows)
    compositions = [{"Mg": a, "Si": b, "O": c} for a, b, c, _ in rows]
    energies = [energy for *_, energy in rows]
    entries = [HullEntry(str(i), c, e) for i, (c, e) in enumerate(zip(compositions, energies, strict=True))]
    whole = Hull(entries)
    expected = ExpectedHull(
        Hull(entries[:known]), compositions, energies, names=[str(i) if i < known else None for i in range(len(rows))]
    )
    wanted = [whole.energy_above_hull(e.composition, e.formation_energy_per_atom, exclude=e.name) for e in entries]
    assert expected.distances() == pytest.approx(wanted, abs=1e-6)


def test_leaving_out_what_is_not_on_the_hull_changes_nothing() -> None:
    """A polymorph above the best, one in another chemical system, one above the elements, one that is not there."""
    rows = [("a", MG_O, -1.0), ("b", MG_O, -0.9), ("c", {"Mg": 2, "Si": 1}, -0.2), ("d", MG_O3, 0.3)]
    hull = Hull([HullEntry(*row) for row in rows])
    assert hull.hull_energies([MG_O] * 4, exclude=["b", "c", "d", "e"]) == pytest.approx([-1.0] * 4)
    assert hull.hull_energies([MG_O, {"Mg": 3, "Si": 1}], exclude=["a", "c"]) == pytest.approx([-0.9, 0.0])
