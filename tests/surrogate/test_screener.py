"""The weights that `materia predict` uses by itself: small, credited, and right about textbook crystals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from materia import quantities as q
from materia.campaign import predict
from materia.crystal import Crystal, write_structure
from materia.resources import resource
from materia.surrogate import Surrogate
from materia.surrogate._canaries import canaries

PUBLISHED = {  # quantity -> (least held-out labels, largest mean absolute error, in its unit)
    q.FORMATION_ENERGY_MP: (800, 0.09),
    q.GAP_MP: (1500, 0.3),
    q.GAP_HSE06: (150, 0.55),
    q.PHONON_PEAK: (80, 80.0),
}


@pytest.fixture(scope="module")
def screener() -> Surrogate:
    return Surrogate.load(resource("data/weights/screener"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("textbook")
    crystals: dict[str, Crystal] = canaries()
    files = []
    for name, crystal in crystals.items():
        files.append(folder / f"{name}.json")
        write_structure(crystal, files[-1])
    return dict(zip(crystals, predict(None, files), strict=True))


def test_they_are_small_and_say_where_they_come_from(screener: Surrogate) -> None:
    folder = resource("data/weights")
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 10e6
    assert screener.card["licence"] == "CC BY 4.0"
    for source in ("Materials Project", "Petousis", "Ricci", "Petretto", "de Jong", "JARVIS"):
        assert source in screener.card["credit"]
    assert any("holds no metals" in note for note in screener.card["notes"])


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_card_has_errors_on_formulas_left_out(screener: Surrogate, name: str) -> None:
    least, largest = PUBLISHED[name]
    found = screener.card["validation"][name]
    assert found["n"] >= least
    assert found["mae"] < largest
    assert 0.85 < found["coverage_90"] < 0.95


def test_metals_and_insulators_are_told_apart(rows: dict[str, dict[str, Any]]) -> None:
    probability = {name: row["predictions"][q.IS_METAL]["probability"] for name, row in rows.items()}
    assert min(probability["Cu"], probability["Al"]) > 0.8
    assert max(probability["NaCl"], probability["MgO"]) < 0.1


def test_gaps_are_near_the_known_ones_and_open_beyond_pbe(rows: dict[str, dict[str, Any]]) -> None:
    """PBE gaps of the Materials Project: Si 0.6, MgO 4.5, NaCl 5.0 eV; hybrid ones are larger."""
    for name, known in {"Si": 0.6, "MgO": 4.5, "NaCl": 5.0}.items():
        found = rows[name]["predictions"]
        assert found[q.GAP_MP]["mean"] == pytest.approx(known, abs=0.7), name
        assert found[q.GAP_MP]["lower"] <= known <= found[q.GAP_MP]["upper"], name
        assert found[q.GAP_HSE06]["mean"] > found[q.GAP_MP]["mean"], name


def test_tensors_are_isotropic_where_the_crystal_is(rows: dict[str, dict[str, Any]]) -> None:
    cubic = np.array(rows["Si"]["predictions"][q.DIELECTRIC_ELECTRONIC]["tensor"])
    np.testing.assert_allclose(cubic, cubic[0, 0] * np.eye(3), atol=1e-3 * cubic[0, 0])
    assert 8 < cubic[0, 0] < 20
    low, middle, high = rows["ZnO"]["predictions"][q.DIELECTRIC_ELECTRONIC]["eigenvalues"]
    assert min(middle - low, high - middle) < 1e-3 * high, "uniaxial: two of three are equal"


def test_stiff_is_stiffer_than_soft(rows: dict[str, dict[str, Any]]) -> None:
    modulus = {name: row["predictions"][q.BULK_MODULUS]["mean"] for name, row in rows.items()}
    assert modulus["MgO"] > modulus["Si"] > modulus["NaCl"]
    assert 10 < modulus["NaCl"] < 60
