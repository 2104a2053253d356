"""The map from PBE gaps to HSE06: distributions by hand, known crystals, one's own pairs, and what the card claims."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from materia.crystal import Crystal
from materia.errors import SearchError
from materia.search import DearGaps, GapMap, Hurdle, composition_features, scenarios, spin_orbit_closing
from materia.search._own_errors import AMPLITUDE, COMMON, OwnErrors

EDGES = (0.0, 0.5, 1.1, 1.7, 3.0, 100.0)


def features(*names: list[str]) -> np.ndarray:
    """Of compositions, whatever the structure."""
    rng = np.random.default_rng(0)
    return composition_features([Crystal(np.eye(3) * 5, _numbers(n), rng.random((len(n), 3))) for n in names])


def _numbers(symbols: list[str]) -> np.ndarray:
    from ase.data import atomic_numbers

    return np.array([atomic_numbers[s] for s in symbols])


@pytest.fixture(scope="module")
def shipped() -> GapMap:
    return GapMap.shipped()


def test_chances_by_hand() -> None:
    """Errors of -0.2, 0 and 0.2 units around 1 eV, and gaps of 0.2, 0.4, 0.6 eV where a closed one opens, of which
    spin-orbit coupling takes 0.1 eV."""
    gaps = DearGaps(
        centre=np.array([1.0, 0.0]),
        scale=np.array([0.5, 0.5]),
        trust=np.array([1.0, 0.0]),
        chance_open=np.array([0.9, 0.25]),
        errors=np.array([-0.2, 0.0, 0.2]),
        opened=np.array([0.2, 0.4, 0.6]),
        closing=np.array([0.0, 0.1]),
    )
    assert gaps.chance(1.0, 9.0) == pytest.approx([0.5, 0.0])
    # quantiles stand for 1/6, 1/2 and 5/6; 0.3 eV of gap are 0.4 eV without the coupling
    assert gaps.chance(0.3, 9.0) == pytest.approx([1.0, 0.25 * 0.5])
    assert gaps.chance(0.0, 0.3) == pytest.approx([0.0, 0.75 + 0.25 * 0.5])
    mean, std = gaps.moments()
    assert mean == pytest.approx([1.0, 0.25 * 0.3])
    assert std[0] == pytest.approx(0.5 * np.sqrt(0.08 / 3))
    assert std[1] == pytest.approx(np.sqrt(0.25 * (0.01 + 0.09 + 0.25) / 3 - 0.075**2))


def test_windows_side_by_side_make_up_everything(shipped: GapMap) -> None:
    x = features(["Si", "Si"], ["Cu", "In", "Se", "Se"], ["Ga", "As"], ["Mg", "O"])
    found = shipped.predict(x, np.array([0.6, 0.0, 0.2, 4.5]), closing=0.1)
    total = sum(found.chance(low, high) for low, high in pairwise(EDGES))
    # a closed gap lies in the first window alone; edges have no weight of their own
    assert total == pytest.approx(np.ones(4), abs=1e-9)


@pytest.mark.parametrize(
    ("symbols", "pbe", "hse"),
    [  # Materials Project's HSE06 gaps, as the benchmark dft_reference has them; formulas that the map never saw
        (["Si", "Si"], 0.61, 1.21),
        (["Ga", "P"], 1.64, 2.28),
        (["Zn", "Te"], 1.08, 2.10),
        (["Al", "N"], 4.06, 5.59),
        (["B", "As"], 1.21, 1.87),
    ],
)
def test_known_semiconductors_lie_where_they_should(
    shipped: GapMap, symbols: list[str], pbe: float, hse: float
) -> None:
    mean, std = shipped.predict(features(symbols), np.array([pbe])).moments()
    assert 0.05 < std[0] < 0.6
    assert abs(mean[0] - hse) < 3 * std[0]
    assert mean[0] > pbe


def test_a_closed_gap_rules_out_no_absorber_and_a_wide_one_does(shipped: GapMap) -> None:
    """CuInSe2 has no gap in PBE and 1.04 eV in truth; an alloy of noble metals is a metal; MgO is none."""
    x = features(["Cu", "In", "Se", "Se"], ["Ag", "Au"], ["Mg", "O"])
    chance = shipped.predict(x, np.array([0.0, 0.0, 4.5])).chance(0.2, 1.7)
    assert chance[0] > 0.05 > 3 * chance[1]  # under 5 % nobody climbs
    assert chance[2] < 0.001


def test_bands_that_overlap_a_little_may_part_and_those_that_overlap_much_do_not(shipped: GapMap) -> None:
    x, closed = features(["Cd", "O"], ["Cd", "O"], ["Cd", "O"]), np.zeros(3)
    chance = shipped.predict(x, closed, overlap=np.array([0.0, 0.5, 3.0])).chance(0.5, 2.5)
    unknown = shipped.predict(x, closed).chance(0.5, 2.5)
    assert chance[0] > chance[1] > chance[2]
    assert chance[2] == pytest.approx(unknown[2] / 2), "of the two views of it one rules it out"
    mean, std = shipped.predict(x, closed, overlap=np.array([0.0, 0.5, 3.0])).moments()
    assert mean[0] > mean[1] > mean[2]
    assert (std > 0).all()


def test_an_uncertain_pbe_gap_widens_what_is_believed(shipped: GapMap) -> None:
    x = features(["Ga", "P"])
    sharp, _ = shipped.uncertain(x, (np.array([1.6]), np.array([0.0])))
    exact = shipped.predict(x, np.array([1.6])).moments()
    assert [float(v[0]) for v in sharp] == pytest.approx([float(v[0]) for v in exact])
    (mean, std), hurdle = shipped.uncertain(x, (np.array([1.6]), np.array([0.4])))
    assert abs(mean[0] - sharp[0][0]) < 0.1
    assert std[0] == pytest.approx(np.hypot(0.4, sharp[1][0]), rel=0.3)
    assert hurdle.chance[0] > 0.99
    assert hurdle.mean[0] == pytest.approx(mean[0], rel=0.01)


def test_what_may_be_a_metal_keeps_that_chance_beyond_pbe(shipped: GapMap) -> None:
    """Half of such candidates have no PBE gap: then HSE06 opens one as composition says, else as of a gap."""
    x = features(["Ga", "P"])
    closed = float(shipped.predict(x, np.array([0.0])).chance_open[0])
    (mean, _), hurdle = shipped.uncertain(x, Hurdle(np.array([0.5]), np.array([1.6]), np.array([0.1])))
    assert hurdle.chance[0] == pytest.approx(0.5 + 0.5 * closed, abs=0.01)
    assert mean[0] == pytest.approx(hurdle.chance[0] * hurdle.mean[0])
    (if_open, _), _ = shipped.uncertain(x, (np.array([1.6]), np.array([0.1])))
    assert 0.5 * if_open[0] < mean[0] < 0.7 * if_open[0]


def test_scenarios_weigh_what_they_stand_for() -> None:
    """By hand: of N(1, 0.5²) 2.3 % is below 0, of the hurdle a quarter is closed."""
    normal = scenarios((np.array([1.0]), np.array([0.5])))
    assert sum(w[0] for w, _ in normal) == pytest.approx(1)
    assert sum(w[0] * gap[0] for w, gap in normal) == pytest.approx(1.0)
    parts = scenarios(Hurdle(np.array([0.75]), np.array([1.0]), np.array([0.5])))
    assert sum(w[0] for w, _ in parts) == pytest.approx(1)
    assert sum(w[0] for w, gap in parts if gap[0] == 0.0) == pytest.approx(0.25)
    assert sum(w[0] * gap[0] for w, gap in parts) == pytest.approx(0.75)


def test_one_s_own_pairs_move_and_sharpen_the_map_where_composition_is_alike(shipped: GapMap) -> None:
    names = [["Ga", "P"], ["Al", "P"], ["Zn", "S"], ["Mg", "Te"], ["Al", "As"], ["B", "P"], ["Zn", "Se"], ["Be", "Te"]]
    x, pbe = np.tile(features(*names), (4, 1)), np.tile(np.linspace(0.8, 2.5, 8), 4)
    published = shipped.predict(x, pbe)
    own = shipped.recalibrated(x, pbe, published.centre + 0.3)
    assert own.own is not None
    assert own.own.n == 32
    there, far = own.predict(x, pbe), own.predict(features(["Cs", "F"]), np.array([5.0]))
    assert there.centre - published.centre == pytest.approx(np.full(32, 0.3), abs=0.06)
    assert (there.scale < published.scale).all()
    usual = shipped.predict(features(["Cs", "F"]), np.array([5.0]))
    assert abs(far.centre[0] - usual.centre[0]) < 0.15, "half of what is in common, no more"
    assert far.scale[0] > usual.scale[0], "what they have not seen is less certain than they thought"
    same = shipped.recalibrated(x, np.zeros(32), published.centre)  # closed in PBE: they say nothing of open ones
    assert same is shipped
    noise = np.random.default_rng(1).normal(0, 1.0, 32)
    noisy = shipped.recalibrated(x, pbe, np.maximum(published.centre + noise, 0.1))
    assert noisy.own is not None and own.own.stretch < 0.8 and noisy.own.stretch > 1.5


def test_own_pairs_say_nothing_of_gaps_that_pbe_closes(shipped: GapMap) -> None:
    x = features(["Zn", "S"], ["Zn", "Se"])
    own = shipped.recalibrated(x, np.array([2.0, 1.2]), np.array([3.6, 2.6]))
    closed, overlap = np.zeros(2), np.array([0.1, 0.3])
    for known in (None, overlap):
        mine, theirs = (m.predict(x, closed, overlap=known).chance(0.5, 1.5) for m in (own, shipped))
        assert mine == pytest.approx(theirs)


def test_the_process_over_own_errors_by_hand() -> None:
    """One pair, off by 0.4 eV with a noise of 0.2, stretched: the mean is the covariance over the variance plus the
    noise, twice as far as one feature's standard deviation reaches it is less."""
    found = OwnErrors.of(np.zeros((1, 1)), np.array([0.4]), np.array([0.2]))
    mean, std = found.at(np.array([[0.0], [2.0], [50.0]]))
    prior = AMPLITUDE**2 + COMMON**2
    left_out = 0.4**2 / (prior + 0.2**2)  # the error squared over its variance where nothing else is known
    assert found.stretch == pytest.approx(np.sqrt((1.4826**2 * left_out + 10) / 11))
    noise = (found.stretch * 0.2) ** 2
    shared = np.array([prior, COMMON**2 + AMPLITUDE**2 * np.exp(-2.0), COMMON**2])
    assert mean == pytest.approx(shared / (prior + noise) * 0.4)
    assert std == pytest.approx(np.sqrt(prior - shared**2 / (prior + noise)))


def test_of_very_many_pairs_an_even_selection_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("materia.search._own_errors.MOST", 50)
    x = np.random.default_rng(0).normal(size=(400, 3))
    found = OwnErrors.of(x, np.full(400, 0.2), np.full(400, 0.1))
    assert found.n == 50
    assert found.at(x)[0].mean() == pytest.approx(0.2, abs=0.05)


def test_spin_orbit_coupling_takes_more_from_heavier_anions() -> None:
    lost, unsure = spin_orbit_closing([{"Zn": 1, "S": 1}, {"Zn": 1, "Se": 1}, {"Zn": 1, "Te": 1}, {"Pb": 1, "S": 1}])
    assert lost[0] < 0.03 < lost[1] < 0.2 < lost[2] < 0.4
    assert unsure[3] > 0.25 > unsure[2] > unsure[0]


def test_the_card_says_how_far_chances_hold(shipped: GapMap) -> None:
    """Over the folds: of pairs with a chance under 5 %, no more are inside than such chances leave room for."""
    for window, found in shipped.card["validation"]["windows"].items():
        predicted, seen = found["predicted_and_found"][0]
        assert seen <= max(2 * predicted, 0.01), window
        assert found["share_under_5_percent"] > 0.7, "it would save nothing"
    assert "GaAs" in shipped.card["excluded_formulas"]


def test_what_does_not_fit_is_refused(shipped: GapMap) -> None:
    with pytest.raises(SearchError, match="do not fit"):
        shipped.predict(features(["Si", "Si"]), np.array([0.5, 0.6]))
