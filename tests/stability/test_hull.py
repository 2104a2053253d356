"""Hulls small enough to draw by hand, and pymatgen's on larger ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from materia.errors import DatasetError
from materia.stability import Hull, HullEntry


def binary() -> Hull:
    # A-B: AB at -1.0, AB3 (x_B = 0.75) at -0.3 above the line AB-B (-0.5), A3B at -0.6 below the line A-AB (-0.5)
    return Hull(
        [
            HullEntry("AB", {"Mg": 1, "O": 1}, -1.0),
            HullEntry("AB3", {"Mg": 1, "O": 3}, -0.3),
            HullEntry("A3B", {"Mg": 3, "O": 1}, -0.6),
        ]
    )


def test_binary_by_hand():
    hull = binary()
    assert hull.hull_energy({"Mg": 1, "O": 1}) == pytest.approx(-1.0)
    assert hull.hull_energy({"Mg": 1, "O": 3}) == pytest.approx(-0.5)
    assert hull.energy_above_hull({"Mg": 1, "O": 3}, -0.3) == pytest.approx(0.2)
    assert hull.hull_energy({"Mg": 3, "O": 1}) == pytest.approx(-0.6)
    # halfway between A3B (x = 0.25) and AB (x = 0.5)
    assert hull.hull_energy({"Mg": 5, "O": 3}) == pytest.approx(-0.8)
    # Mg7O: halfway between Mg and A3B
    assert hull.hull_energy({"Mg": 7, "O": 1}) == pytest.approx(-0.3)


def test_what_a_composition_falls_apart_into():
    """Lever rule: Mg5O3 lies halfway between Mg3O (4 of its 8 atoms) and MgO; Mg7O halfway between Mg and Mg3O."""
    hull = binary()
    assert hull.decomposition({"Mg": 5, "O": 3}) == pytest.approx({"A3B": 0.5, "AB": 0.5})
    assert hull.decomposition({"Mg": 7, "O": 1}) == pytest.approx({"A3B": 0.5, "Mg": 0.5})
    assert hull.decomposition({"Mg": 1, "O": 1}) == pytest.approx({"AB": 1.0})
    assert hull.decomposition({"Mg": 1, "O": 1}, exclude="AB") == pytest.approx({"A3B": 0.5, "AB3": 0.5})
    assert hull.decomposition({"Mg": 2, "Si": 1}) == pytest.approx({"Mg": 2 / 3, "Si": 1 / 3}), "no phase known"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.floats(-2, 1)), max_size=8))
def test_the_mixture_has_the_energy_of_the_hull(rows):
    entries = [
        HullEntry(str(i), {"Mg": a, "Si": b, "O": c}, energy)
        for i, (a, b, c, energy) in enumerate(rows)
        if (a > 0) + (b > 0) + (c > 0) > 1
    ]
    hull, energy_of = Hull(entries), {e.name: e.formation_energy_per_atom for e in entries}
    for composition in ({"Mg": 1, "Si": 1, "O": 3}, {"Mg": 2, "O": 1}, {"Mg": 1, "Si": 2, "O": 1}):
        mixture = hull.decomposition(composition)
        assert sum(mixture.values()) == pytest.approx(1)
        energy = sum(share * energy_of.get(name, 0.0) for name, share in mixture.items())
        assert energy == pytest.approx(hull.hull_energy(composition), abs=1e-6)


def test_leaving_the_candidate_out_gives_its_decomposition_energy():
    hull = binary()
    # without AB, AB3 (0.75, -0.3) comes onto the hull: halfway between it and A3B (0.25, -0.6) is -0.45
    assert hull.energy_above_hull({"Mg": 1, "O": 1}, -1.0, exclude="AB") == pytest.approx(-0.55)
    assert hull.energy_above_hull({"Mg": 1, "O": 1}, -1.0) == pytest.approx(0.0)
    # a new phase below everything known is negative without further ado
    assert hull.energy_above_hull({"Mg": 2, "O": 2}, -1.2) == pytest.approx(-0.2)


def test_ternary_by_hand():
    hull = Hull(
        [
            HullEntry("MgO", {"Mg": 1, "O": 1}, -3.0),
            HullEntry("SiO2", {"Si": 1, "O": 2}, -3.0),
            HullEntry("polymorph", {"Si": 1, "O": 2}, -2.9),
            HullEntry("GaAs", {"Ga": 1, "As": 1}, -0.4),  # another system
        ]
    )
    # MgSiO3 = MgO (2 of 5 atoms) + SiO2 (3 of 5 atoms)
    assert hull.hull_energy({"Mg": 1, "Si": 1, "O": 3}) == pytest.approx(-3.0)
    # Mg2Si O0: the elements
    assert hull.hull_energy({"Mg": 2, "Si": 1}) == 0.0
    # MgSiO: MgO + Si: two of three atoms at -3
    assert hull.hull_energy({"Mg": 1, "Si": 1, "O": 1}) == pytest.approx(-2.0)
    stable = {"Mg": 1, "Si": 1, "O": 3}
    assert hull.energy_above_hull(stable, -3.05) == pytest.approx(-0.05)


def test_without_known_phases_the_elements_are_the_hull():
    hull = Hull([HullEntry("unstable", {"Ga": 1, "Sb": 1}, +0.2)])
    assert hull.hull_energy({"Ga": 1, "Sb": 1}) == 0.0
    assert hull.hull_energy({"Ga": 3}) == 0.0
    assert hull.hull_energy({"K": 1, "Cl": 1}) == 0.0


def test_mixed_levels_are_refused():
    with pytest.raises(DatasetError, match="2 levels"):
        Hull(
            [
                HullEntry("a", {"Mg": 1, "O": 1}, -3.0, level_hash="aaaa"),
                HullEntry("b", {"Si": 1, "O": 2}, -3.0, level_hash="bbbb"),
            ]
        )


def test_two_phases_of_one_name_and_no_number_are_refused():
    with pytest.raises(DatasetError, match="'a'"):
        Hull([HullEntry("a", {"Mg": 1, "O": 1}, -3.0), HullEntry("a", {"Si": 1, "O": 2}, -3.0)])
    with pytest.raises(DatasetError, match="nan"):
        Hull([HullEntry("a", {"Mg": 1, "O": 1}, float("nan"))])


def test_hash_pins_energies_and_ignores_order():
    entries = [HullEntry("MgO", {"Mg": 1, "O": 1}, -3.0), HullEntry("SiO2", {"Si": 1, "O": 2}, -2.9)]
    assert Hull(entries).hash == Hull(entries[::-1]).hash
    assert Hull(entries).hash != Hull(entries[:1]).hash
    moved = [entries[0], HullEntry("SiO2", {"Si": 1, "O": 2}, -2.901)]
    assert Hull(entries).hash != Hull(moved).hash
    supercell = [HullEntry("MgO", {"Mg": 4, "O": 4}, -3.0), entries[1]]
    assert Hull(entries).hash == Hull(supercell).hash


SYSTEM = ("Mg", "Si", "O", "N")
entry = st.tuples(
    st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(lambda c: sum(c) > 0), st.floats(-3.0, 0.5)
)


def composition(counts):
    return {s: n for s, n in zip(SYSTEM, counts, strict=True) if n}


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(entry, min_size=1, max_size=12), probe=entry)
def test_agrees_with_pymatgen(rows, probe):
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    # elements are fixed at 0, as in materia: no entry may undercut them
    known = [(composition(c), e) for c, e in rows if len(composition(c)) > 1]
    hull = Hull([HullEntry(str(k), c, e) for k, (c, e) in enumerate(known)])
    target = composition(probe[0])
    theirs = PhaseDiagram(
        [PDEntry(Composition({s: 1}), 0.0) for s in SYSTEM]
        + [PDEntry(Composition(c), e * sum(c.values())) for c, e in known]
    )
    assert hull.hull_energy(target) == pytest.approx(theirs.get_hull_energy_per_atom(Composition(target)), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(entry, min_size=2, max_size=10), probe=entry)
def test_one_more_phase_never_raises_the_hull(rows, probe):
    entries = [
        HullEntry(str(k), {s: n for s, n in zip(SYSTEM, c, strict=True) if n}, e) for k, (c, e) in enumerate(rows)
    ]
    target = {s: n for s, n in zip(SYSTEM, probe[0], strict=True) if n}
    assert Hull(entries).hull_energy(target) <= Hull(entries[:-1]).hull_energy(target) + 1e-9


def test_many_compositions_are_the_single_ones():
    hull = binary()
    rows = [{"Mg": i, "O": j} for i in range(1, 5) for j in range(1, 5)] + [{"Mg": 1}, {"O": 1, "Si": 2}]
    np.testing.assert_allclose(hull.hull_energies(rows), [hull.hull_energy(r) for r in rows])
