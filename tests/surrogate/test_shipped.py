"""The shipped weights: intact, credited, and a better start than none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition

from materia.quantities import FORMATION_ENERGY, FORMATION_ENERGY_MP, GAP_MP
from materia.resources import resource
from materia.surrogate import Example, Surrogate, SurrogateSettings, train
from surrogate_factory import rocksalt, zincblende


@pytest.fixture(scope="module")
def base() -> Surrogate:
    return Surrogate.load(resource("data/weights/base"))


def test_card_says_origin_licence_and_quality(base: Surrogate) -> None:
    assert "Materials Project" in base.card["credit"]
    assert base.card["licence"] == "CC BY 4.0"
    assert base.card["validation"][FORMATION_ENERGY_MP]["mae"] < 0.08
    assert base.card["validation"][GAP_MP]["mae"] < 0.2


def test_none_of_our_own_formulas_was_learned_from(base: Surrogate) -> None:
    listed = resource("data/weights/base").parents[2] / "experiments/dataset_formulas.txt"
    if not listed.is_file():
        pytest.skip("the list of the dataset's formulas lies in a checkout only")
    ours = {Composition(line).reduced_formula for line in listed.read_text().split()}
    assert len(ours) > 100
    assert ours <= set(base.card["excluded_formulas"])


def test_formation_energies_of_textbook_compounds(base: Surrogate) -> None:
    """Materials Project: NaCl -2.1, GaAs -0.44 eV/atom, neither of them learned from."""
    crystals = [rocksalt("Na", "Cl", 5.69), zincblende("Ga", "As", 5.75)]
    mean, _ = base.predict(crystals).column(FORMATION_ENERGY_MP)
    assert mean == pytest.approx([-2.1, -0.44], abs=0.3)


def test_fine_tuning_starts_from_them(base: Surrogate, tmp_path: Path) -> None:
    """Two dozen corrected labels and two epochs give what the mean predictor cannot."""
    sizes = {"Li": 0.0, "Na": 0.5, "K": 1.1, "Rb": 1.4}
    halides = {"F": 4.03, "Cl": 5.13, "Br": 5.5, "I": 6.0}
    crystals = [rocksalt(c, a, h + 0.9 * s) for c, s in sizes.items() for a, h in halides.items()]
    labels = base.predict(crystals).column(FORMATION_ENERGY_MP)[0] + 0.1
    examples = [Example(c, {FORMATION_ENERGY: float(y)}, c.formula) for c, y in zip(crystals, labels, strict=True)]
    settings = SurrogateSettings(members=2, epochs=2)
    model = train(examples, targets=[FORMATION_ENERGY], settings=settings, folder=tmp_path, progress=False)
    assert model.card["architecture"] == base.card["architecture"]
    spread = np.abs(labels - np.median(labels)).mean()
    assert model.card["validation"][FORMATION_ENERGY]["mae"] < 0.6 * spread
