"""A campaign file that is edited once the campaign has started: what may change, and what is another campaign."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from instant_campaign import Instant, instant
from materia.campaign import load_settings
from materia.campaign._changes import MAY_CHANGE, changes, record_changes
from materia.campaign._database import CampaignDatabase
from materia.campaign._settings import CampaignSettings
from materia.errors import CampaignError
from materia.record import CampaignRecord

pytestmark = pytest.mark.gpaw


def edited(made: Instant, **sections: Any) -> Instant:
    content = yaml.safe_load(made.file.read_text())
    for section, values in sections.items():
        content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
    made.file.write_text(yaml.safe_dump(content))
    return made


def picked(record: CampaignRecord) -> list[list[str]]:
    return [[pick.candidate_id for pick in r.picks] for r in record.rounds]


def test_a_finished_campaign_is_given_another_round(tmp_path: Path) -> None:
    """It goes on from its last model and picks what the longer campaign would have picked from the start."""
    made = instant(tmp_path / "shorter")
    before = made.finish()
    assert len(before.rounds) == 2
    after = edited(made, search={"rounds": 3}).finish()
    longer = instant(tmp_path / "longer", search={"rounds": 3}).finish()
    assert picked(after) == picked(longer)
    assert picked(after)[:2] == picked(before)
    (row,) = after.meta["changes"]
    assert (row["setting"], row["from"], row["to"]) == ("search.rounds", 2, 3)
    assert after.state == "finished" and after.settings["search"]["rounds"] == 3
    assert yaml.safe_load((made.folder / "campaign.yaml").read_text()).keys() == {"campaign", "versions", "digests"}
    page = (made.folder / "report" / "index.html").read_text()
    assert "Settings changed on the way" in page and "search.rounds: 2 → 3" in page
    assert len(made.finish().meta["changes"]) == 1, "the same file again changes nothing"
    argv = [sys.executable, "-m", "materia.cli", "status", str(made.folder), "--json"]
    told = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    assert told["changes"] == after.meta["changes"]


def test_fewer_rounds_end_it_after_the_open_one(tmp_path: Path) -> None:
    made = instant(tmp_path, search={"rounds": 5})
    made.steps(3)
    record = edited(made, search={"rounds": 1}).finish()
    assert len(record.rounds) == 1 and len(record.rounds[0].picks) == 3


def test_where_jobs_run_may_change_and_the_command_says_so(tmp_path: Path) -> None:
    made = instant(tmp_path)
    made.steps(2)
    (tmp_path / "more").mkdir()
    stores = [str(tmp_path / "store"), str(tmp_path / "more")]
    edited(made, compute={"cores": 2, "stores": stores})
    argv = [sys.executable, "-m", "materia.cli", "run", str(made.file), "--folder", str(made.folder)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "compute.cores: 1 -> 2" in " ".join(told.split())
    assert {row["setting"] for row in made.record.meta["changes"]} == {"compute.cores", "compute.stores"}


@pytest.mark.parametrize(
    ("section", "value", "named"),
    [
        ("seed", 99, "seed"),
        ("objectives", [{"quantity": "gap_pbe", "window": [0.1, 0.2]}], "objectives"),
        ("search", {"batch": 9, "rounds": 4}, "search.batch"),
        ("compute", {"backend": "slurm", "site": "generic"}, "compute.backend"),
        ("ladder", {"level": "standard"}, "ladder.level"),
    ],
)
def test_anything_else_is_another_campaign(tmp_path: Path, section: str, value: Any, named: str) -> None:
    made = instant(tmp_path)
    made.steps(1)
    before = (made.folder / "campaign.yaml").read_text()
    edited(made, **{section: value})
    with pytest.raises(CampaignError, match=f"other settings than .*: {named}\n") as caught:
        made.steps(1)
    assert "search.rounds" in str(caught.value), "it says what may change"
    assert (made.folder / "campaign.yaml").read_text() == before


def test_no_rounds_behind_a_plan_that_is_required(tmp_path: Path) -> None:
    old = _settings(tmp_path, plan="required", rounds=1)
    with pytest.raises(CampaignError, match=r"search\.plan is required"):
        changes(old, _settings(tmp_path, plan="required", rounds=2), file=tmp_path, folder=tmp_path)
    assert changes(_settings(tmp_path, plan="required", rounds=3), old, file=tmp_path, folder=tmp_path) == {
        "search.rounds": (3, 1)
    }


def test_every_name_is_that_of_a_setting() -> None:
    for name in MAY_CHANGE:
        section, key = name.split(".")
        assert key in CampaignSettings.model_fields[section].annotation.model_fields  # type: ignore[union-attr]


def test_kept_once_though_the_driver_was_killed_before_the_file_was_written(tmp_path: Path) -> None:
    database = CampaignDatabase(tmp_path / "campaign.sqlite")
    database.bring_up_to_date()
    record_changes(database, {"search.rounds": (2, 3)}, "now")
    record_changes(database, {"search.rounds": (2, 3)}, "later")
    record_changes(database, {"search.rounds": (3, 2)}, "at last")
    assert [(row["to"], row["when"]) for row in database.meta()["changes"]] == [(3, "now"), (2, "at last")]
    database.close()


def _settings(folder: Path, **search: Any) -> CampaignSettings:
    """All in one folder, so that they differ in nothing else."""
    shutil.rmtree(folder / "one", ignore_errors=True)
    return load_settings(instant(folder / "one", search=search).file)
