"""Labels that were computed with other pseudopotentials than a campaign would use are no labels for it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from materia.campaign import CampaignSettings
from materia.campaign._pseudopotentials import check_labels
from materia.data import Dataset
from materia.errors import EngineError
from materia.resources import resource
from materia.simulation import STANDARD, engine

pytestmark = pytest.mark.gpaw
pytest.importorskip("gpaw_data", reason="the PAW datasets of GPAW are not installed")

ELEMENTS = ["Ga", "In", "P", "As"]
GAP = {"quantity": "gap_pbe", "window": [0.5, 2.0]}
BELOW = {"quantity": "energy_above_hull", "below": 0.05}


def content(**changes: Any) -> dict[str, Any]:
    space = {"elements": ELEMENTS, "exclude": [], "prototypes": ["zincblende"], "arity": [2]}
    return {"version": 1, "name": "paw", "space": space, "objectives": [GAP], "constraints": [BELOW], **changes}


def settings(**changes: Any) -> CampaignSettings:
    return CampaignSettings.model_validate(content(**changes))


@pytest.fixture
def here() -> dict[str, str]:
    return engine("gpaw").pseudopotentials(ELEMENTS, STANDARD)


def test_the_shipped_labels_are_of_the_shipped_pseudopotentials(here: dict[str, str]) -> None:
    check_labels(settings(), Dataset.load(resource("data/dataset")), here)


@pytest.mark.parametrize(
    ("changes", "shipped", "what"),
    [
        ({}, True, "the elemental references were"),
        ({}, False, "the elemental references were"),
        ({"constraints": []}, True, "the labels of the dataset 'materia-pbe' were"),
        ({"constraints": [], "ladder": {"competing": {}}}, False, "the elemental references were"),
    ],
)
def test_energies_of_others_are_refused(
    here: dict[str, str], changes: dict[str, Any], shipped: bool, what: str
) -> None:
    data = Dataset.load(resource("data/dataset")) if shipped else Dataset.empty()
    with pytest.raises(EngineError, match=what) as caught:
        check_labels(settings(**changes), data, {**here, "Ga": "0123456789ab"})
    assert f"Ga ({here['Ga']}, here 0123456789ab)" in caught.value.what
    assert " In " not in caught.value.what


def test_gaps_alone_need_no_references(here: dict[str, str]) -> None:
    check_labels(settings(constraints=[]), Dataset.empty(), {**here, "Ga": "0123456789ab"})


def test_labels_of_another_level_are_not_compared(here: dict[str, str]) -> None:
    rough = settings(constraints=[], ladder={"level": "rough"})
    check_labels(rough, Dataset.load(resource("data/dataset")), {**here, "Ga": "0123456789ab"})


def test_a_campaign_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    text = gzip.decompress(resource("data/paw/Ga.PBE.gz").read_bytes())
    (tmp_path / "setups").mkdir()
    (tmp_path / "setups" / "Ga.PBE").write_bytes(text + b"<!-- another -->\n")
    file, folder = tmp_path / "paw.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(content()))
    done = subprocess.run(
        [sys.executable, "-m", "materia.cli", "run", str(file), "--folder", str(folder)],
        env={**os.environ, "GPAW_SETUP_PATH": str(tmp_path / "setups")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    told = " ".join(done.stderr.split())
    assert "computed with other pseudopotentials than would be used: Ga" in told
    assert "GPAW_SETUP_PATH" in told
    assert not folder.exists()
