"""Small parts of the report against numbers worked out by hand."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from ase.build import bulk

from materia.crystal import Crystal
from materia.report import _figures as figures
from materia.report import _words as words
from materia.report._plot import Plot, log_ticks, padded, round_colour, ticks
from materia.report._structures import scene


def test_formula_subscripts_and_escape() -> None:
    assert words.formula("CuGaS2") == "CuGaS<sub>2</sub>"
    assert words.formula("<b>2'") == "&lt;b&gt;<sub>2</sub>&#39;"


@pytest.mark.parametrize(
    ("value", "quantity", "text"),
    [
        (1.234, "gap_pbe", "1.23"),
        (-0.1234, "formation_energy_per_atom", "−0.123"),
        (-0.0001, "energy_above_hull", "0.000"),
        (math.nan, "gap_pbe", "–"),
        (None, None, "–"),
        (0.5, None, "0.500"),
    ],
)
def test_numbers(value: float | None, quantity: str | None, text: str) -> None:
    assert words.number(value, quantity) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (4.5, "4.50"),
        (1234.5, "1\u2009234"),
        (0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_amounts_have_three_digits(value: float | None, text: str) -> None:
    assert words.amount(value) == text


def test_electricity_and_mass_in_units_at_hand() -> None:
    assert [words.electricity(v) for v in (0.0000012, 0.00303, 1.2, 4500.0, None)] == [
        "0.00120 Wh",
        "3.03 Wh",
        "1.20 kWh",
        "4.50 MWh",
        "–",
    ]
    assert [words.mass(v) for v in (0.000607, 2.0, 1500.0, 0.0)] == ["0.607 g", "2.00 kg", "1.50 t", "0 g"]


def test_conditions_on_one_quantity_are_taken_together() -> None:
    settings = {
        "campaign": {
            "objectives": [
                {"quantity": "gap_pbe", "window": [0.5, 2.0]},
                {"quantity": "supply_risk", "goal": "minimize"},
            ],
            "constraints": [{"quantity": "gap_pbe", "below": 1.5}, {"quantity": "energy_above_hull", "below": 0.1}],
        }
    }
    assert words.bounds(settings) == {"gap_pbe": (0.5, 1.5), "energy_above_hull": (-math.inf, 0.1)}
    assert [c["text"] for c in words.conditions(settings)] == ["between 0.5 and 1.5 eV", "at most 0.1 eV/atom"]
    assert [w["text"] for w in words.wishes(settings)] == ["as small as possible"]


@pytest.mark.parametrize(
    ("limits", "expected"), [((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]), ((-0.13, 0.11), [-0.1, -0.05, 0.0, 0.05, 0.1])]
)
def test_ticks_are_round(limits: tuple[float, float], expected: list[float]) -> None:
    assert ticks(*limits) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[0.0], [-0.5, -0.5000000000000006], [3e5, 3e5], [1.0, 2.0]])
def test_values_that_are_one_but_for_rounding_get_an_axis(values: list[float]) -> None:
    low, high = padded(values)
    assert low < min(values) <= max(values) < high
    assert "svg" in Plot((low, high), (low, high), "x", "y", "a plot").svg()
    assert 1 <= len(ticks(low, high)) < 20


def test_log_ticks() -> None:
    assert [round(10**t) for t in log_ticks(math.log10(15), math.log10(120))] == [20, 50, 100]


def test_plot_places_points() -> None:
    plot = Plot((0, 10), (0, 1), "x", "y", "alt", width=400, height=330)
    assert plot.px(0) == 54
    assert plot.px(10) == 386
    assert plot.py(0) == 286
    assert plot.py(1) == 14


def test_round_colours_differ_and_end_where_they_should() -> None:
    assert round_colour(0, 3) == "#4c5fd5"
    assert round_colour(2, 3) == "#d5542a"
    assert len({round_colour(n, 7) for n in range(7)}) == 7


def test_calibration_of_a_known_error() -> None:
    """Errors of exactly one standard deviation: outside of intervals under 68 %, inside of those above."""
    n = 40
    data = {"gap_pbe": {"observed": [1.0] * n, "predicted": [1.5] * n, "std": [0.5] * n}}
    drawn = figures.calibration(data)
    inside = {int(level): int(share) for share, level in re.findall(r"Band gap, PBE: (\d+)% at (\d+)%", drawn)}
    assert inside[65] == 0
    assert inside[70] == 100


def test_zincblende_is_drawn_as_its_cubic_cell() -> None:
    drawn = scene(Crystal.from_ase(bulk("GaAs", "zincblende", a=5.65)).to_record())
    assert drawn["lengths"] == pytest.approx([5.65] * 3, abs=1e-3)
    assert drawn["spacegroup"] == "F-43m (216)"
    # 8 corners, 6 faces and 4 inside; each atom inside has four bonds
    assert len(drawn["atoms"]) == 18
    assert len(drawn["bonds"]) == 16


def test_bond_lengths_are_nearest_neighbours() -> None:
    drawn = scene(Crystal.from_ase(bulk("ZnS", "wurtzite", a=3.82, c=6.26)).to_record())
    places = np.array([a[:3] for a in drawn["atoms"]])
    lengths = [np.linalg.norm(places[i] - places[j]) for i, j in drawn["bonds"]]
    assert lengths
    assert min(lengths) > 2.2
    assert max(lengths) < 2.5


def test_perovskite_shows_the_octahedron_only() -> None:
    record = {
        "lattice": (np.eye(3) * 3.9).tolist(),
        "species": ["Sr", "Ti", "O", "O", "O"],
        "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    }
    drawn = scene(record)
    kinds = [e["s"] for e in drawn["elements"]]
    pairs = {frozenset((kinds[drawn["atoms"][i][3]], kinds[drawn["atoms"][j][3]])) for i, j in drawn["bonds"]}
    assert pairs == {frozenset(("Ti", "O"))}
    assert len(drawn["bonds"]) == 6
