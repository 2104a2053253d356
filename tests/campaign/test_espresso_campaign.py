"""Campaigns that compute with pw.x: what is refused before anything is written, and when one is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from espresso_pseudos import copy_chosen, skip_without_espresso, use
from materia.campaign._folder import open_campaign
from materia.errors import CampaignError, EngineError

pytestmark = pytest.mark.espresso
skip_without_espresso()

CONTENT = {
    "version": 1,
    "name": "oxides",
    "data": None,
    "space": {"elements": ["Si", "Ge", "O"], "exclude": [], "prototypes": ["fluorite"], "arity": [2], "max_atoms": 3},
    "objectives": [{"quantity": "gap_pbe", "window": [0.8, 4.0]}],
    "surrogate": None,
    "search": {"rounds": 1, "batch": 1, "acquisition": "random"},
    "ladder": {"level": "espresso-rough", "recipes": ["gap"]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "oxides.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    return path


def test_elements_without_pseudopotential_are_told_before_anything_is_written(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, copy_chosen(tmp_path / "pseudo", "Si.pbe-rrkj.UPF", "O.pz-rrkjus.UPF"))
    with pytest.raises(EngineError) as caught, open_campaign(file, tmp_path / "run"):
        pass
    assert "Ge has no pseudopotential" in caught.value.what
    assert "O has no pseudopotential for PBE (O.pz-rrkjus.UPF is for LDA)" in caught.value.what
    assert not (tmp_path / "run").exists()


def test_a_campaign_keeps_to_its_pseudopotentials(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oxides = ("Ge.pbe-kjpaw.UPF", "O.pbe-kjpaw.UPF")
    first = copy_chosen(tmp_path / "first", "Si.pbe-rrkj.UPF", *oxides)
    use(monkeypatch, first)
    with open_campaign(file, tmp_path / "run") as campaign:
        assert set(campaign.database.meta()["pseudopotentials"]) == {"Si", "Ge", "O"}
    use(monkeypatch, copy_chosen(tmp_path / "second", "Si.pbe-nl-rrkjus_psl.1.0.0.UPF", *oxides))
    with (
        pytest.raises(CampaignError, match="set of pseudopotentials is no longer"),
        open_campaign(None, tmp_path / "run"),
    ):
        pass
    use(monkeypatch, first)
    with open_campaign(None, tmp_path / "run"):
        pass
