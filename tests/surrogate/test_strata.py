"""Errors and coverage apart: which stratum a crystal belongs to, figures counted by hand, and what is called bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from materia.quantities import FORMATION_ENERGY, GAP_MP, GAP_PBE, IS_METAL, Form
from materia.surrogate import Example, SurrogateSettings, badly_covered, train
from materia.surrogate._split import structure_types
from materia.surrogate._strata import SMALLEST, by_stratum, family, metallic, strata
from surrogate_factory import rocksalt, zincblende


@pytest.mark.parametrize(
    ("elements", "name"),
    [
        (("Ga", "As"), "arsenides"),
        (("Na", "Cl", "O"), "oxides"),  # the most electronegative
        (("Cs", "Pb", "I"), "iodides"),
        (("Si",), "silicides"),
        (("Al", "Au"), "intermetallics"),  # gold draws electrons as antimony does, and is no anion of a family
        (("Au", "Sb"), "antimonides"),
        (("Xe", "F"), "fluorides"),
    ],
)
def test_the_most_electronegative_anion_names_the_family(elements: tuple[str, ...], name: str) -> None:
    assert family(elements) == name


def test_labels_say_what_is_a_metal() -> None:
    assert metallic({IS_METAL: 1.0, GAP_PBE: 0.4})  # the class is asked first
    assert metallic({GAP_MP: 0.0})
    assert metallic({GAP_MP: 0.2, FORMATION_ENERGY: -1.0}) is False
    assert metallic({FORMATION_ENERGY: -1.0}) is None


def test_every_example_has_its_strata() -> None:
    crystals = [rocksalt("Na", "Cl", 5.6), zincblende("Ga", "As", 5.65)]
    examples = [Example(crystals[0], {GAP_PBE: 5.0}, "NaCl"), Example(crystals[1], {FORMATION_ENERGY: -0.3}, "GaAs")]
    found = strata(examples, structure_types(examples))
    assert found["metal"].tolist() == ["non-metals", ""]
    assert found["family"].tolist() == ["chlorides", "arsenides"]
    assert found["type"].tolist() == ["AB_225_4_4", "AB_216_4_4"]


def test_figures_of_strata_by_hand() -> None:
    n = SMALLEST
    names = np.array(["a"] * n + ["b"] * 2 * n + ["c"] * (n - 1) + [""])
    observed = np.zeros(len(names))
    predicted = np.where(names == "a", 0.5, 2.0)
    inside = np.arange(len(names)) % 4 > 0
    parity = {"observed": observed.tolist(), "predicted": predicted.tolist(), "inside": inside.tolist()}
    found = by_stratum(parity, {"family": names}, Form.SCALAR)["family"]
    assert list(found) == ["b", "a"]  # the largest first; c is too small, "" is nothing
    assert found["a"] == {"n": n, "mae": 0.5, "coverage_90": 0.75}
    assert found["b"] == {"n": 2 * n, "mae": 2.0, "coverage_90": 0.75}
    halves = {"family": np.array(["a"] * n + ["b"] * n)}
    said = {"observed": [1.0] * 2 * n, "predicted": [0.9] * n + [0.6] * (n // 2) + [0.2] * (n // 2)}
    of_class = by_stratum(said, halves, Form.CLASS)["family"]
    assert of_class == {"a": {"n": n, "accuracy": 1.0}, "b": {"n": n, "accuracy": 0.5}}
    assert by_stratum(parity, {"metal": np.array(["metals"] * len(names))}, Form.SCALAR) == {}  # one stratum is all


def test_a_stratum_is_bad_where_chance_does_not_explain_it() -> None:
    """Of 100 labels 90 are expected inside with a standard deviation of 3."""
    kinds = {"oxides": (0.89, 100), "sulfides": (0.70, 100), "iodides": (0.75, 20), "metals": (0.99, 500)}
    divisions = {"family": {name: {"coverage_90": c, "n": n} for name, (c, n) in kinds.items()}}
    assert badly_covered(divisions) == [("sulfides", 0.70, 100)]
    alone = {"family": {"iodides": {"coverage_90": 0.75, "n": 20}}}
    assert badly_covered(alone) == [("iodides", 0.75, 20)]  # 4 % by chance, were it the only one looked at
    assert badly_covered({"metal": {"metals": {"accuracy": 0.2, "n": 50}}}) == []


def test_a_trained_model_carries_them(examples: list[Example], small: SurrogateSettings, tmp_path: Path) -> None:
    targets = [FORMATION_ENERGY, GAP_PBE]
    card = train(examples, targets=targets, settings=small, folder=tmp_path / "model", progress=False).card
    for name, divisions in card["strata"].items():
        inside = card["parity"][name]["inside"]
        assert len(inside) == card["validation"][name]["n"]
        assert np.mean(inside) == pytest.approx(card["validation"][name]["coverage_90"], abs=1e-6)
        assert all(sum(said["n"] for said in kinds.values()) <= len(inside) for kinds in divisions.values())
    assert set(card["strata"][FORMATION_ENERGY]["type"]) == {"AB_216_4_4", "AB_225_4_4"}
    assert set(card["strata"][GAP_PBE]["metal"]) == {"non-metals"}  # of metals there are too few
