"""A campaign folder read back, without GPAW: written by the campaign's own database and ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ase.build import bulk

from materia.campaign._database import CampaignDatabase, PickRow
from materia.compute import Ledger
from materia.crystal import Crystal
from materia.errors import CampaignError
from materia.record import JobSpec, Label, Outcome, OutcomeKind, Pick, PickState, load_campaign

GAAS = Crystal.from_ase(bulk("GaAs", "zincblende", a=5.7))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    database = CampaignDatabase(tmp_path / "campaign.sqlite")
    ledger = Ledger(database.connection)
    ledger.create_tables()
    with database.transaction():
        database.set_meta({"name": "found", "state": "running", "dataset": {"n": 3}})
    database.open_round(0, 3, {"gap_pbe_mae": 0.25})
    pick = Pick(0, 0, "GaAs-zincblende", 7, 0, {"gap_pbe": {"mean": 0.4, "std": 0.2}}, {"total": 0.5})
    spec = JobSpec("key1", ("python",), {"recipe": "gap"}, {"estimate_s": 12.0}, name="GaAs-zincblende/gap")
    with database.transaction():
        database.add_pick(PickRow(pick, 0, "key1", GAAS))
        ledger.add(spec)
    label = Label("gap_pbe", 0.14, "PBE", "standard", "abc", "key1")
    database.finish_pick(pick, PickState.COMPUTED, labels=(label,), structure=GAAS.scaled_to_volume(50.0))
    database.close()
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump({"campaign": {"name": "found"}, "versions": {}}))
    return tmp_path


def test_everything_written_is_read(folder: Path) -> None:
    record = load_campaign(folder)
    assert (record.name, record.state, record.settings["name"]) == ("found", "running", "found")
    (found,) = record.rounds
    assert (found.state, found.n_labelled, found.metrics["gap_pbe_mae"]) == ("open", 3, 0.25)
    (pick,) = found.picks
    assert pick.state is PickState.COMPUTED
    assert pick.labels[0].value == 0.14
    assert pick.predictions["gap_pbe"]["std"] == 0.2
    (job,) = record.jobs
    assert (job.name, job.features["estimate_s"], job.outcome) == ("GaAs-zincblende/gap", 12.0, None)


def test_reading_changes_nothing_and_works_beside_a_writer(folder: Path) -> None:
    before = (folder / "campaign.sqlite").read_bytes()
    database = CampaignDatabase(folder / "campaign.sqlite")
    assert load_campaign(folder) == load_campaign(folder)
    database.close()
    assert (folder / "campaign.sqlite").read_bytes() == before


def test_a_transaction_that_fails_leaves_nothing(folder: Path) -> None:
    database = CampaignDatabase(folder / "campaign.sqlite")
    pick = Pick(0, 1, "GaP-zincblende", 8, 1)
    with pytest.raises(RuntimeError), database.transaction():
        database.add_pick(PickRow(pick, 0, "key2", GAAS))
        raise RuntimeError
    assert len(database.picks()) == 1
    database.close()


def test_a_candidate_cannot_be_picked_twice(folder: Path) -> None:
    database = CampaignDatabase(folder / "campaign.sqlite")
    again = Pick(0, 1, "GaAs-zincblende", 7, 1)
    with pytest.raises(Exception, match="UNIQUE"), database.transaction():
        database.add_pick(PickRow(again, 0, "key2", GAAS))
    database.close()


def test_relaxed_structure_is_kept_with_the_pick(folder: Path) -> None:
    database = CampaignDatabase(folder / "campaign.sqlite")
    (row,) = database.picks()
    assert row.structure.volume == pytest.approx(50.0)
    database.close()


def test_outcomes_survive_the_round_trip(folder: Path) -> None:
    from materia.record import to_json
    from materia.record._load import _outcome

    outcome = Outcome("k", OutcomeKind.TIMEOUT, True, "walltime", "too long", {"a": 1}, {}, "jobs/k/1", 3.0, 2.0, 2)
    import json

    assert _outcome(json.dumps(to_json(outcome))) == outcome


def test_no_campaign_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="no campaign"):
        load_campaign(tmp_path)
