"""What a campaign's surrogate learns: what the conditions name, as far as there are labels of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instant_campaign import instant
from materia.campaign._learning import _examples, learned_quantities, predict_pool
from materia.campaign._loop import open_driver
from materia.campaign._report import write_report
from materia.errors import DatasetError
from materia.surrogate import Surrogate

pytestmark = pytest.mark.gpaw


def opened(folder: Path, quantity: str, recipes: list[str]) -> tuple[Path, Path]:
    changes: dict[str, Any] = {
        "objectives": [{"quantity": quantity, "goal": "maximize"}],
        "ladder": {"level": "rough", "recipes": recipes},
    }
    campaign = instant(folder, **changes)
    return campaign.file, campaign.folder


def test_a_direct_gap_is_learned_where_it_is_asked_for(tmp_path: Path) -> None:
    with open_driver(*opened(tmp_path / "direct", "gap_direct_pbe", ["relax", "gap"])) as driver:
        assert learned_quantities(driver.campaign) == ("gap_direct_pbe",)
        known = [example.targets for example in _examples(driver.campaign).values()]
    assert sum("gap_direct_pbe" in targets for targets in known) == len(known) > 100
    with open_driver(*opened(tmp_path / "other", "gap_pbe", ["relax", "gap"])) as driver:
        assert {name for e in _examples(driver.campaign).values() for name in e.targets} == {
            "formation_energy_per_atom",
            "gap_pbe",
        }


def test_what_candidates_are_held_against_is_predicted_with_them(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "space": {"prototypes": ["zincblende"]},
        "constraints": [{"quantity": "energy_above_hull", "below": 0.05}],
        "surrogate": {"members": 2, "epochs": 1},
        "ladder": {"level": "standard"},
    }
    campaign = instant(tmp_path, **changes)
    with open_driver(campaign.file, campaign.folder) as driver:
        shutil.rmtree(campaign.folder / "models")
        found = predict_pool(driver.campaign, 0)
        rivals = driver.campaign.rivals
    assert rivals is not None
    assert "ZnS-wurtzite" in rivals.ids
    assert "ZnS-zincblende" in campaign.pool.ids
    assert "ZnS-zincblende" not in rivals.ids
    assert found.rivals is not None
    assert found.rivals.shape == (len(rivals),)
    model = Surrogate.load(campaign.folder / "models" / "0")
    some = [rivals.crystal(i) for i in range(5)]
    assert found.rivals[:5] == pytest.approx(model.predict(some).column("formation_energy_per_atom")[0], abs=1e-4)


def test_a_campaign_with_a_gaussian_process(tmp_path: Path) -> None:
    """From its first prediction to the report: no network is trained, and every round knows the last one's answers."""
    campaign = instant(tmp_path, surrogate={"readout": "gaussian_process"})
    shutil.rmtree(campaign.folder / "models")
    record = campaign.finish()
    first, second, _ = record.models  # the last one says what is still to be found
    assert first["settings"]["readout"] == "gaussian_process"
    assert second["n_train"] == first["n_train"] + 3
    assert 0.8 <= first["validation"]["gap_pbe"]["coverage_90"] <= 1.0
    assert f"surrogate trained on {second['n_train']} structures" in write_report(campaign.folder).read_text()
    model = Surrogate.load(campaign.folder / "models" / "1")
    said = model.predict([campaign.pool.crystal(i) for i in range(5)])
    with np.load(campaign.folder / "models" / "1" / "predictions.npz") as kept:
        np.testing.assert_allclose(kept["mean"][:5], said.mean, atol=1e-4)


def test_too_few_labels_are_named_with_what_to_do(tmp_path: Path) -> None:
    with open_driver(*opened(tmp_path, "gap_pbe_soc", ["relax", "spin_orbit"])) as driver:
        shutil.rmtree(driver.campaign.folder / "models")
        with pytest.raises(DatasetError, match="0 labels of gap_pbe_soc are too few") as caught:
            predict_pool(driver.campaign, 0)
        assert "acquisition: random" in caught.value.remedy
