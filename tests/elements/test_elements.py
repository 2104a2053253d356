"""The element tables: against the libraries they come from, and against facts one can look up."""

import csv

import pytest

import materia.elements as elements
from materia.elements import bond_valence, closed_shell_charges, closed_shell_elements, crust_abundance, group, supply
from materia.errors import ElementError
from materia.resources import resource


def test_supply_is_the_published_table():
    # Gaultois et al. (2013), table S1
    assert (supply("Ga").production, supply("Ga").reserves) == (5500, 1900)
    assert (supply("As").production, supply("As").reserves) == (3300, 4000)
    assert (supply("Zn").production, supply("Zn").reserves) == (1600, 1900)


def test_supply_without_an_entry_names_the_element():
    with pytest.raises(ElementError, match="'H'"):
        supply("H")


def test_every_closed_shell_element_has_supply_abundance_and_radii():
    radii = bond_valence().radii
    for symbol in closed_shell_elements():
        assert 0 < supply(symbol).production <= 10_000
        assert 0 < crust_abundance(symbol) < 1e6
        for charge in closed_shell_charges(symbol):
            assert 0.3 < radii[symbol, charge] < 2.5


def test_closed_shell_charges_leave_a_closed_shell():
    """Electron counts of noble gases, d10, d10 s2 and f14 ions, from the atomic number alone."""
    from ase.data import atomic_numbers

    noble = {0, 2, 10, 18, 36, 54, 86}
    d10 = {28, 46, 78}
    lone_pair = {30, 48, 80}
    f14 = {68}
    with resource("data/elements/oxidation_states.csv").open() as file:
        rows = list(csv.DictReader(file))
    allowed = {"noble gas": noble, "d10": d10, "d10 s2": lone_pair, "f14": f14}
    for row in rows:
        left = atomic_numbers[row["symbol"]] - int(row["charge"])
        assert left in allowed[row["shell"]], row
    assert {r["symbol"] for r in rows}.isdisjoint({"Fe", "Co", "Ni", "Mn", "Cr", "Gd", "Ce"})


def test_charges_are_among_the_oxidation_states_of_pymatgen():
    from pymatgen.core import Element

    for symbol in closed_shell_elements():
        # pymatgen knows Si, Ge, Sn -4 and the like; nothing here may be unheard of
        assert set(closed_shell_charges(symbol)) <= set(Element(symbol).oxidation_states), symbol


def test_groups_hold_what_they_say():
    assert {"Pb", "Cd", "Hg", "As", "Be", "Tl"} <= elements.TOXIC
    assert {"Te", "In", "Ag", "Au", "Pt", "Se"} <= elements.SCARCE
    assert elements.SCARCE.isdisjoint({"Si", "Zn", "Cu", "Sn", "Ga", "Ti", "O", "S"})
    assert {"Mn", "Fe", "Co", "Ni", "Cr", "Eu", "Gd"} <= elements.OPEN_SHELL
    assert elements.OPEN_SHELL.isdisjoint({"Zn", "Cu", "Ti", "Zr", "La", "Sc", "Ga"})
    assert {"Tc", "Pm", "U"} <= elements.RADIOACTIVE
    for name in ("toxic", "scarce", "open_shell", "radioactive", "noble_gas"):
        found = group(name)
        assert found.rule and found.source and len(found.date) == 10
        assert all(found.symbols.values()), "every element says why it is in"


def test_groups_hold_elements_only():
    from materia.crystal import atomic_number

    for found in elements.groups().values():
        for symbol in found.symbols:
            assert atomic_number(symbol) > 0


def test_unknown_group_names_the_nearest():
    with pytest.raises(ElementError, match="did you mean toxic"):
        group("toxik")


def test_bond_valence_gives_the_bond_of_zinc_blende():
    """Four bonds of valence 1/2: d = r_Zn + r_S - k dX^2 + b ln 2 = 2.36 Å in PBE."""
    from math import log

    t = bond_valence()
    d = t.radii["Zn", 2] + t.radii["S", -2] - t.k * (1.65 - 2.58) ** 2 + t.b * log(2)
    assert d == pytest.approx(5.45 * 3**0.5 / 4, rel=0.02)
