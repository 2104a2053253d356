from __future__ import annotations

import json
from itertools import pairwise

import pytest

from materia.errors import ConfigError
from materia.resources import resource
from materia.simulation import (
    PROTOCOLS,
    ROUGH,
    SCREEN,
    STANDARD,
    STRICT,
    ExpectedError,
    Level,
    expected_error,
    level,
    level_hash,
)


def test_the_hash_hangs_on_every_setting_but_not_on_the_name() -> None:
    assert level_hash(STANDARD) == level_hash(STANDARD.model_copy(update={"name": "other"}))
    for field, value in {"cutoff_ev": 801.0, "kpoint_density": 3.6, "smearing_ev": 0.04, "xc": "LDA"}.items():
        assert level_hash(STANDARD.model_copy(update={field: value})) != level_hash(STANDARD), field


def test_the_hash_hangs_on_the_pseudopotentials_in_any_order() -> None:
    one = level_hash(STANDARD, {"Ga": "aa", "As": "bb"})
    assert one == level_hash(STANDARD, {"As": "bb", "Ga": "aa"})
    assert one != level_hash(STANDARD, {"As": "bb", "Ga": "ab"})
    assert one != level_hash(STANDARD)


@pytest.mark.parametrize(
    ("one", "digest"), [(STANDARD, "e5d9feb1c7bc"), (SCREEN, "6e857a740e5f"), (STRICT, "70990b6aa443")]
)
def test_the_hashes_of_protocols_are_frozen(one: Level, digest: str) -> None:
    # Everything in data/ was computed under that of standard: a change of a level must be a new level.
    assert level_hash(one) == digest


def test_unknown_level_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="standart"):
        level("standart")
    assert level("rough") is ROUGH


def test_each_protocol_is_stricter_than_the_one_before_and_there_for_every_engine() -> None:
    for looser, stricter in pairwise(PROTOCOLS):
        assert stricter.cutoff_ev > looser.cutoff_ev
        assert stricter.kpoint_density > looser.kpoint_density
        assert stricter.path_density > looser.path_density
        assert stricter.force_tolerance < looser.force_tolerance
        assert stricter.stress_tolerance < looser.stress_tolerance
    assert [one.name for one in PROTOCOLS] == ["rough", "screen", "standard", "strict"]
    for one in PROTOCOLS:
        for program in ("espresso", "vasp"):
            same = level(f"{program}-{one.name}")
            assert same.engine == program
            assert same.model_dump(exclude={"name", "engine"}) == one.model_dump(exclude={"name", "engine"})
            assert level_hash(same) != level_hash(one)


def test_protocols_say_the_error_that_was_measured_and_of_nothing_else() -> None:
    recorded = json.loads(resource("experiments/benchmarks/protocols/result.json").read_text())
    for name in ("rough", "screen", "standard"):
        error = expected_error(level(name))
        assert error is not None
        assert error.against == "level strict"
        for quantity, (mean, largest) in error.deviations.items():
            found = recorded["against_strict"][name][quantity]
            assert (mean, largest) == (found["mean"], abs(found["largest"]))
        assert "lattice constants by" in str(error)
    gaps = [error.deviations["gap_ev"][0] for one in PROTOCOLS[:3] if (error := expected_error(one)) is not None]
    assert gaps == sorted(gaps, reverse=True)
    strict = expected_error(STRICT)
    assert strict is not None
    assert strict.deviations["gap_ev"][0] < 0.01
    assert "from 1300 eV" in str(strict)
    assert str(ExpectedError("x", {"gap_ev": (0.0138, 0.25), "formation_mev": (103.2, 511.0)}, 9)) == (
        "from x, mean of 9 compounds: gaps by 0.014 eV (0.25 at most), formation energies by 103 meV/atom (511 at most)"
    )
    for unmeasured in (level("espresso-standard"), STANDARD.model_copy(update={"cutoff_ev": 900.0})):
        assert expected_error(unmeasured) is None
