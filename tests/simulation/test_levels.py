from __future__ import annotations

import pytest

from materia.errors import ConfigError
from materia.simulation import ROUGH, STANDARD, level, level_hash


def test_the_hash_hangs_on_every_setting_but_not_on_the_name() -> None:
    assert level_hash(STANDARD) == level_hash(STANDARD.model_copy(update={"name": "other"}))
    for field, value in {"cutoff_ev": 801.0, "kpoint_density": 3.6, "smearing_ev": 0.04, "xc": "LDA"}.items():
        assert level_hash(STANDARD.model_copy(update={field: value})) != level_hash(STANDARD), field


def test_the_hash_hangs_on_the_pseudopotentials_in_any_order() -> None:
    one = level_hash(STANDARD, {"Ga": "aa", "As": "bb"})
    assert one == level_hash(STANDARD, {"As": "bb", "Ga": "aa"})
    assert one != level_hash(STANDARD, {"As": "bb", "Ga": "ab"})
    assert one != level_hash(STANDARD)


def test_the_hash_of_standard_is_frozen() -> None:
    # Everything in data/ was computed under this hash: a change of the level must be a new level.
    assert level_hash(STANDARD) == "e5d9feb1c7bc"


def test_unknown_level_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="standart"):
        level("standart")
    assert level("rough") is ROUGH
