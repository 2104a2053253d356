"""Supply risk by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from materia.elements import closed_shell_elements
from materia.errors import ElementError
from materia.sustainability import supply_risk, supply_risks


def test_gallium_arsenide_by_hand():
    # Ga 69.723 u, (5500 + 1900) / 2 = 3700; As 74.922 u, (3300 + 4000) / 2 = 3650
    expected = (69.723 * 0.3700 + 74.922 * 0.3650) / (69.723 + 74.922)
    assert supply_risk({"Ga": 1, "As": 1}) == pytest.approx(expected, rel=1e-5)


def test_zinc_sulfide_by_hand():
    # Zn 65.38 u, (1600 + 1900) / 2 = 1750; S 32.06 u, (700 + 1000) / 2 = 850
    expected = (65.38 * 0.1750 + 32.06 * 0.0850) / (65.38 + 32.06)
    assert supply_risk({"Zn": 1, "S": 1}) == pytest.approx(expected, rel=1e-4)


def test_masses_weigh_not_atoms():
    # by atoms TiO2 would be (0.135 + 2 * 0.05) / 3 = 0.0783; by mass titanium counts for 60 %
    expected = (47.867 * 0.1350 + 2 * 15.999 * 0.0500) / (47.867 + 2 * 15.999)
    assert supply_risk({"Ti": 1, "O": 2}) == pytest.approx(expected, rel=1e-5)


def test_an_element_without_data_is_an_error():
    with pytest.raises(ElementError, match="'H'"):
        supply_risk({"Li": 1, "H": 1})
    with pytest.raises(ElementError, match="'Xx'"):
        supply_risks([{"Ga": 1, "As": 1}, {"Xx": 1}])


symbols = st.sampled_from(closed_shell_elements())
compositions = st.dictionaries(symbols, st.integers(1, 8), min_size=1, max_size=4)


@given(composition=compositions, factor=st.integers(2, 5))
def test_does_not_depend_on_the_cell(composition, factor):
    larger = {s: n * factor for s, n in composition.items()}
    assert supply_risk(larger) == pytest.approx(supply_risk(composition))


@given(composition=compositions)
def test_lies_between_its_elements(composition):
    single = [supply_risk({s: 1}) for s in composition]
    assert min(single) - 1e-12 <= supply_risk(composition) <= max(single) + 1e-12
    assert 0 <= supply_risk(composition) <= 1


def test_vectorised_is_the_same():
    rows = [{"Ga": 1, "As": 1}, {"Zn": 4, "S": 4}, {"Cu": 1, "Ga": 1, "S": 2}]
    np.testing.assert_allclose(supply_risks(rows), [supply_risk(r) for r in rows])
