"""People in the loop: pins, vetoes and approvals through the real driver, whose calculations are done already."""

from __future__ import annotations

import contextlib
import getpass
import json
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import optuna
import pytest

import materia
from instant_campaign import Instant, instant
from materia.campaign import load_settings
from materia.campaign._loop import open_driver
from materia.compute.launcher import process_identity
from materia.errors import CampaignError, MateriaError, PoolExhaustedError, SpaceError
from materia.record import CampaignRecord, OverrideKind, OverrideState, Pick, PickState
from materia.report import overrides_summary
from materia.simulation import ROUGH, level_hash
from materia.stability import ElementReference, References
from tiny_campaign import essence

pytestmark = pytest.mark.gpaw
PINNED, VETOED = "InSb-rocksalt", "ZnSe-zincblende"  # the strategy would never take the one, and takes the other first

ENERGY = [{"quantity": "energy_per_atom", "goal": "minimize"}]
AT_RANDOM = {"acquisition": "random", "exploration": 0, "rounds": 1}


def picks(record: CampaignRecord, number: int) -> list[Pick]:
    return list(record.rounds[number].picks)


def names(record: CampaignRecord) -> list[str]:
    return [p.candidate_id for r in record.rounds for p in r.picks]


def became(record: CampaignRecord, kind: OverrideKind) -> dict[str, OverrideState]:
    return {o.candidate_id: o.state for o in record.overrides if o.kind is kind}


def study_of(campaign: Instant) -> list[optuna.trial.FrozenTrial]:
    file = optuna.storages.journal.JournalFileBackend(str(campaign.folder / "optuna.journal"))
    return optuna.load_study(study_name="instant", storage=optuna.storages.JournalStorage(file)).trials


def started(campaign: Instant) -> Instant:
    campaign.steps(1)
    return campaign


def test_a_pinned_candidate_is_picked_next_and_the_study_knows(tmp_path: Path) -> None:
    plain = instant(tmp_path / "plain").finish()
    assert PINNED not in names(plain)
    campaign = started(instant(tmp_path / "pinned"))
    decision = materia.pin(campaign.folder, [PINNED, "InAs-rocksalt"], why="we can grow it", who="Ada")
    assert (decision.who, decision.why, decision.candidates) == ("Ada", "we can grow it", (PINNED, "InAs-rocksalt"))
    assert became(campaign.record, OverrideKind.PIN)[PINNED] is OverrideState.WAITING
    record = campaign.finish()
    assert [p.candidate_id for p in picks(record, 0)][:2] == [PINNED, "InAs-rocksalt"]
    assert [len(r.picks) for r in record.rounds] == [3, 3], "pins count in the batch"
    assert became(record, OverrideKind.PIN) == dict.fromkeys([PINNED, "InAs-rocksalt"], OverrideState.HONOURED)
    dossier = record.dossiers[PINNED]
    assert dossier["chosen_by"] == "pin"
    assert dossier["pin"]["who"] == "Ada"
    assert dossier["rank"] > 1, "the strategy's own opinion of it is kept"
    trials = study_of(campaign)
    pinned = [t for t in trials if t.user_attrs["pinned"]]
    assert [t.user_attrs["candidate_id"] for t in pinned] == [PINNED, "InAs-rocksalt"]
    assert all(t.state is optuna.trial.TrialState.COMPLETE for t in pinned)
    assert pinned[0].user_attrs["values"]["gap_pbe"] == campaign.gaps[PINNED]


def test_a_vetoed_candidate_is_never_picked_and_its_prediction_is_kept(tmp_path: Path) -> None:
    assert VETOED in names(instant(tmp_path / "plain").finish())
    campaign = started(instant(tmp_path / "vetoed"))
    materia.veto(campaign.folder, VETOED, why="no zinc in this chamber")
    record = campaign.finish()
    assert VETOED not in names(record)
    assert all(not job.name.startswith(VETOED) for job in record.jobs)
    (override,) = record.overrides
    assert (override.state, override.who) == (OverrideState.STANDING, getpass.getuser())
    assert override.round == 0
    assert override.predictions["gap_pbe"]["std"] == pytest.approx(0.6)
    assert 0 < override.probability < 1
    assert overrides_summary(record)["vetoes"][0]["cancelled"] is None


def test_a_veto_before_submission_takes_the_pick_back_and_its_place_is_filled(tmp_path: Path) -> None:
    plain = instant(tmp_path / "plain").finish()
    campaign = instant(tmp_path / "vetoed")
    campaign.steps(4)
    target = picks(campaign.record, 0)[1]
    assert target.state is PickState.PENDING
    materia.veto(campaign.folder, target.candidate_id, why="toxic", who="Ada")
    record = campaign.finish()
    states = [(p.slot, p.state.value) for p in picks(record, 0)]
    assert states == [(0, "computed"), (1, "vetoed"), (2, "computed"), (3, "computed")]
    taken_back = picks(record, 0)[1]
    assert taken_back.reason == "vetoed by Ada: toxic"
    assert taken_back.predictions == target.predictions
    assert not taken_back.labels
    jobs = [j for j in record.jobs if j.name.startswith(f"{target.candidate_id}/")]
    assert [j.attempts for j in jobs] == [0], "it was submitted"
    assert target.candidate_id not in {r["candidate_id"] for r in record.ranking}, "it is no failure of the material"
    assert names(plain)[:3] == names(record)[:3], "the others of the round stay"
    assert overrides_summary(record)["vetoes"][0]["cancelled"] == {"round": 0, "slot": 1}
    with pytest.raises(CampaignError, match="finished"):
        materia.veto(campaign.folder, "InAs-rocksalt", why="late")


def test_a_running_calculation_is_cancelled(tmp_path: Path) -> None:
    """With a real job: the first pick's results are not in the store."""
    first = names(instant(tmp_path / "plain").finish())[0]
    campaign = instant(tmp_path / "real", missing=(first,))
    with open_driver(campaign.file, campaign.folder) as driver:
        for _ in range(5):
            driver.step()
        attempt = next((campaign.folder / "jobs").glob("*/1"))
        deadline = time.monotonic() + 60
        while not (attempt / "claim.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        claim = json.loads((attempt / "claim.json").read_text())
        materia.veto(campaign.folder, first, why="the furnace is broken", who="Ada")
        driver.step()
        assert picks(campaign.record, 0)[0].state is PickState.VETOED
        while process_identity(claim["pid"]) == claim["identity"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process_identity(claim["pid"]) != claim["identity"], "its process went on"
        assert not (attempt / "result.json").exists()
    record = campaign.finish()
    (job,) = [j for j in record.jobs if j.name.startswith(f"{first}/")]
    assert job.outcome is not None
    assert job.outcome.kind.value == "cancelled"
    assert [p.state.value for p in picks(record, 0)] == ["vetoed", "computed", "computed", "computed"]


def taken_back(campaign: Instant) -> str:
    """The first pick, cancelled before anything was computed, and the veto withdrawn."""
    campaign.steps(4)
    target = picks(campaign.record, 0)[0].candidate_id
    materia.veto(campaign.folder, target, why="toxic", who="Ada")
    campaign.steps(1)
    assert picks(campaign.record, 0)[0].state is PickState.VETOED
    materia.veto(campaign.folder, target, why="we have a glove box", who="Ada", undo=True)
    return target


def test_a_withdrawn_veto_frees_its_candidate_for_later_rounds(tmp_path: Path) -> None:
    campaign = instant(tmp_path, search={"rounds": 5})
    target = taken_back(campaign)
    record = campaign.finish()
    places = [(p.round, p.state) for r in record.rounds for p in r.picks if p.candidate_id == target]
    assert [state for _, state in places] == [PickState.VETOED, PickState.COMPUTED], "a good one is picked again"
    again_in = places[1][0]
    assert again_in > places[0][0] == 0
    vetoed, again = picks(record, 0)[0], record.last_pick(target)
    assert vetoed.reason == "vetoed by Ada: toxic"
    assert again is not None
    assert {label.quantity: label.value for label in again.labels}["gap_pbe"] == campaign.gaps[target]
    assert (record.dossier(vetoed)["round"], record.dossier(again)["round"]) == (0, again_in), "both are kept"
    trials = study_of(campaign)
    mine = [t for t in trials if t.user_attrs.get("candidate_id") == target]
    assert [t.state.name for t in mine] == ["FAIL", "COMPLETE"]
    assert mine[0].user_attrs["failure"] == "vetoed by Ada: toxic"
    assert [t.number for t in mine] == [vetoed.trial_number, again.trial_number]
    assert [row["candidate_id"] for row in record.ranking].count(target) == 1
    assert materia.trace(campaign.folder, target)["pick"]["round"] == again_in
    jobs = [j for j in record.jobs if j.name.startswith(f"{target}/")]
    assert {j.outcome.kind.value for j in jobs if j.outcome} == {"completed"}
    assert len(set(names(record))) == len(names(record)) - 1, "every other is picked once"


def test_a_job_that_was_cancelled_gets_another_attempt(tmp_path: Path) -> None:
    """With real processes, which the second veto ends again."""
    first = names(instant(tmp_path / "plain").finish())[0]
    campaign = instant(tmp_path / "real", missing=(first,))
    with open_driver(campaign.file, campaign.folder) as driver:
        for _ in range(5):
            driver.step()
        materia.veto(campaign.folder, first, why="the furnace is broken", who="Ada")
        driver.step()
        (job,) = [j for j in campaign.record.jobs if j.name.startswith(f"{first}/")]
        assert [run.kind.value for run in job.runs if run.kind] == ["cancelled"]
        materia.veto(campaign.folder, first, why="it is repaired", undo=True)
        materia.pin(campaign.folder, first, why="it is repaired")
        claim = campaign.folder / "jobs" / job.key / "2" / "claim.json"
        deadline = time.monotonic() + 60
        while not claim.exists() and time.monotonic() < deadline:
            driver.step()
        (job,) = [j for j in campaign.record.jobs if j.name.startswith(f"{first}/")]
        assert (job.state, job.attempts, job.outcome) in {("submitted", 2, None), ("running", 2, None)}
        last = campaign.record.last_pick(first)
        assert last is not None
        assert (last.round, last.state) == (1, PickState.PENDING)
        materia.veto(campaign.folder, first, why="broken again", who="Ada")
        driver.step()
    record = campaign.finish()
    mine = [p.reason for r in record.rounds for p in r.picks if p.candidate_id == first]
    assert mine == ["vetoed by Ada: the furnace is broken", "vetoed by Ada: broken again"]
    (job,) = [j for j in record.jobs if j.name.startswith(f"{first}/")]
    assert [run.kind.value for run in job.runs if run.kind] == ["cancelled", "cancelled"], "both are kept"


def test_a_driver_killed_amid_a_veto_that_is_withdrawn_meanwhile(tmp_path: Path) -> None:
    """The job was cancelled, the pick not marked yet: it is no failure of the material."""
    campaign = instant(tmp_path)
    campaign.steps(4)
    target = picks(campaign.record, 0)[0].candidate_id
    materia.veto(campaign.folder, target, why="toxic", who="Ada")
    materia.veto(campaign.folder, target, why="no", undo=True)
    with open_driver(campaign.file, campaign.folder) as driver:
        (row,) = [row for row in driver.campaign.database.picks(0) if row.pick.candidate_id == target]
        driver.manager.cancel([row.job_key], "vetoed by Ada: toxic")
    campaign.steps(1)
    materia.pin(campaign.folder, target, why="we can grow it")
    record = campaign.finish()
    mine = [p for r in record.rounds for p in r.picks if p.candidate_id == target]
    assert [(p.round, p.state.value) for p in mine] == [(0, "vetoed"), (1, "computed")]
    assert mine[0].reason == "vetoed by Ada: toxic"


def test_after_the_last_round_it_can_be_pinned_and_vetoed_again(tmp_path: Path) -> None:
    campaign = instant(tmp_path, search={"rounds": 1, "batch": 2})
    campaign.steps(3)
    target = picks(campaign.record, 0)[0].candidate_id
    materia.veto(campaign.folder, target, why="toxic", who="Ada")
    campaign.steps(1)
    with pytest.raises(CampaignError, match="is vetoed by Ada"):
        materia.pin(campaign.folder, target, why="x")
    materia.veto(campaign.folder, target, why="no", undo=True)
    materia.pin(campaign.folder, target, why="after all")  # taken in at once with the withdrawal
    campaign.until("round 1, pick 0")
    assert [p.candidate_id for p in picks(campaign.record, 1)] == [target], "not in the round that took it back"
    materia.veto(campaign.folder, target, why="toxic indeed", who="Grace")
    campaign.steps(1)
    materia.veto(campaign.folder, target, why="no", undo=True)
    materia.pin(campaign.folder, target, why="we shall see")
    record = campaign.finish()
    mine = [p for r in record.rounds for p in r.picks if p.candidate_id == target]
    assert [(p.round, p.state.value, p.reason) for p in mine] == [
        (0, "vetoed", "vetoed by Ada: toxic"),
        (1, "vetoed", "vetoed by Grace: toxic indeed"),
        (2, "computed", ""),
    ]
    assert [record.dossier(p)["round"] for p in mine] == [0, 1, 2]


def test_a_lost_journal_is_rebuilt_with_both_picks(tmp_path: Path) -> None:
    campaign = instant(tmp_path)
    target = taken_back(campaign)
    materia.pin(campaign.folder, target, why="we can grow it")
    campaign.until("round 1, pick 2")
    before = names(campaign.record)
    for path in campaign.folder.glob("optuna.journal*"):
        path.unlink()
    record = campaign.finish()
    assert names(record) == before
    mine = [t.state.name for t in study_of(campaign) if t.user_attrs.get("candidate_id") == target]
    assert mine == ["FAIL", "COMPLETE"]


OLDER_PICKS = """CREATE TABLE picks (
    round INTEGER NOT NULL REFERENCES rounds(number), slot INTEGER NOT NULL,
    candidate_id TEXT NOT NULL UNIQUE, candidate_index INTEGER NOT NULL UNIQUE, trial_number INTEGER NOT NULL,
    predictions TEXT NOT NULL, score TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    rung INTEGER NOT NULL DEFAULT 0, job_key TEXT NOT NULL, structure TEXT NOT NULL, labels TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (round, slot))"""


def test_a_folder_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """Its columns were unique, so that a candidate could not be picked again."""
    campaign = instant(tmp_path / "new")
    target = taken_back(campaign)
    materia.pin(campaign.folder, target, why="we can grow it")
    older = tmp_path / "older"
    shutil.copytree(campaign.folder, older)
    with contextlib.closing(sqlite3.connect(older / "campaign.sqlite")) as database:
        rows = database.execute("SELECT * FROM picks").fetchall()
        database.execute("DROP TABLE picks")
        database.execute(OLDER_PICKS)
        database.executemany(f"INSERT INTO picks VALUES ({', '.join('?' * 13)})", rows)
        database.commit()
    assert names(materia.load_campaign(older)) == names(campaign.record), "read as it is"
    record = Instant(campaign.file, older, campaign.gaps).finish()
    assert essence(record) == essence(campaign.finish())
    assert names(record).count(target) == 2
    with contextlib.closing(sqlite3.connect(older / "campaign.sqlite")) as database:
        made = "UPDATE picks SET candidate_index = (SELECT candidate_index FROM picks WHERE slot = 1) WHERE slot = 2"
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            database.execute(made)


def test_a_veto_that_comes_too_late_says_so(tmp_path: Path) -> None:
    campaign = instant(tmp_path, ladder={"recipes": ["relax"]}, objectives=ENERGY, surrogate=None, search=AT_RANDOM)
    campaign.steps(4)
    target = picks(campaign.record, 0)[1]
    with open_driver(campaign.file, campaign.folder) as driver:
        materia.veto(campaign.folder, target.candidate_id, why="x")
        driver.manager.advance()  # the results are in the ledger before the driver looks into the inbox
        driver.step()
    (override,) = campaign.record.overrides
    assert (override.state, override.note) == (OverrideState.VOID, "its calculations had ended")
    assert picks(campaign.record, 0)[1].state is PickState.COMPUTED, "an answer that is there was thrown away"


def test_nothing_is_submitted_without_the_approval_that_is_asked_for(tmp_path: Path) -> None:
    campaign = instant(tmp_path, search={"rounds": 1, "batch": 3, "approval": "required"})
    assert "3 waiting for approval" in campaign.until("waiting for approval").message
    record = campaign.record
    assert [p.state.value for p in picks(record, 0)] == ["proposed"] * 3
    assert not record.jobs
    first, second, third = names(record)
    with pytest.raises(CampaignError, match=f"(?s)is not proposed.*proposed now: {first}"):
        materia.approve(campaign.folder, PINNED, why="x")
    materia.approve(campaign.folder, [first, third], why="group meeting")
    materia.veto(campaign.folder, second, why="group meeting")
    campaign.until("1 waiting for approval")
    record = campaign.record
    assert [p.state.value for p in picks(record, 0)][:3] != ["proposed"] * 3
    submitted = {j.name.partition("/")[0] for j in record.jobs}
    assert submitted == {first, third}
    fourth = names(record)[3]
    assert overrides_summary(record)["approval"] == {"required": True, "approved": 2, "waiting": [fourth]}
    materia.approve(campaign.folder, fourth, why="group meeting")
    record = campaign.finish()
    assert [p.state.value for p in picks(record, 0)] == ["computed", "vetoed", "computed", "computed"]


def test_an_approval_was_of_the_pick_that_a_veto_took_back(tmp_path: Path) -> None:
    campaign = instant(tmp_path, search={"rounds": 2, "batch": 1, "approval": "required"})
    campaign.until("1 waiting for approval")
    (target,) = names(campaign.record)
    materia.approve(campaign.folder, target, why="group meeting")
    materia.veto(campaign.folder, target, why="toxic", who="Ada")
    campaign.until("1 waiting for approval")
    assert became(campaign.record, OverrideKind.APPROVE) == {target: OverrideState.VOID}
    materia.veto(campaign.folder, target, why="no", undo=True)
    materia.pin(campaign.folder, target, why="we can grow it")
    materia.approve(campaign.folder, names(campaign.record)[1], why="group meeting")
    campaign.until("round 1, pick 0")
    campaign.until("1 waiting for approval")
    assert [p.state for p in picks(campaign.record, 1)] == [PickState.PROPOSED]
    assert names(campaign.record)[-1] == target
    materia.approve(campaign.folder, target, why="group meeting")
    assert campaign.finish().last_pick(target).state is PickState.COMPUTED


def test_approval_in_a_campaign_that_needs_none_is_an_error(tmp_path: Path) -> None:
    campaign = started(instant(tmp_path))
    with pytest.raises(CampaignError, match=r"(?s)without approval.*approval: required"):
        materia.approve(campaign.folder, PINNED, why="x")
    assert load_settings(campaign.file).search.approval == "automatic"


def test_what_is_withdrawn_in_time_never_was(tmp_path: Path) -> None:
    plain = instant(tmp_path / "plain").finish()
    campaign = started(instant(tmp_path / "changed"))
    materia.pin(campaign.folder, PINNED, why="perhaps")
    materia.veto(campaign.folder, VETOED, why="perhaps")
    with pytest.raises(CampaignError, match="has its pin already"):
        materia.pin(campaign.folder, PINNED, why="again")
    with pytest.raises(CampaignError, match="is vetoed by"):
        materia.pin(campaign.folder, VETOED, why="against the veto")
    materia.pin(campaign.folder, PINNED, why="no", undo=True)
    assert became(campaign.record, OverrideKind.PIN) == {PINNED: OverrideState.WITHDRAWN}
    materia.veto(campaign.folder, VETOED, why="no", undo=True)
    with pytest.raises(CampaignError, match="no veto to withdraw; its last one is withdrawn"):
        materia.veto(campaign.folder, VETOED, why="no", undo=True)
    record = campaign.finish()
    assert names(record) == names(plain)
    assert {o.state for o in record.overrides} == {OverrideState.WITHDRAWN}


def test_a_withdrawal_whose_clock_is_behind_still_finds_what_it_withdraws(tmp_path: Path) -> None:
    campaign = started(instant(tmp_path))
    materia.veto(campaign.folder, VETOED, why="perhaps")
    undo = materia.veto(campaign.folder, VETOED, why="no", undo=True)
    path = campaign.folder / "overrides" / f"{undo.id}.json"
    early = {**json.loads(path.read_text()), "id": "19990101T000000.000000Z-000000000000"}
    path.unlink()
    (path.parent / f"{early['id']}.json").write_text(json.dumps(early))
    assert became(campaign.record, OverrideKind.VETO) == {VETOED: OverrideState.WITHDRAWN}
    campaign.steps(1)
    assert became(campaign.record, OverrideKind.VETO) == {VETOED: OverrideState.WITHDRAWN}


def test_a_pin_after_the_last_batch_gets_a_round_of_its_own(tmp_path: Path) -> None:
    campaign = instant(tmp_path, search={"rounds": 1, "batch": 2})
    campaign.until("pick 1")
    materia.pin(campaign.folder, [PINNED, "InAs-rocksalt", "GaSb-rocksalt"], why="before we stop")
    record = campaign.finish()
    assert [[p.candidate_id for p in r.picks] for r in record.rounds[1:]] == [
        [PINNED, "InAs-rocksalt"],
        ["GaSb-rocksalt"],
    ]
    assert all(p.state is PickState.COMPUTED for r in record.rounds for p in r.picks)


def test_a_veto_prevails_over_a_pin(tmp_path: Path) -> None:
    campaign = started(instant(tmp_path))
    materia.pin(campaign.folder, PINNED, why="we can grow it", who="Ada")
    materia.veto(campaign.folder, PINNED, why="not here", who="Grace")
    assert PINNED not in names(campaign.finish())


def test_dear_candidates_can_be_pinned_and_impossible_ones_come_to_nothing(tmp_path: Path) -> None:
    objectives = [{"quantity": "formation_energy_per_atom", "goal": "minimize"}]
    file = tmp_path / "few.json"  # of a level that knows one element, and no candidate is of it alone
    References("rough", level_hash(ROUGH), {"Ga": ElementReference(-3.0)}).save(file)
    ladder = {"references": str(file)}
    campaign = started(instant(tmp_path, surrogate=None, objectives=objectives, search=AT_RANDOM, ladder=ladder))
    materia.pin(campaign.folder, PINNED, why="no elemental reference of its anion")
    with pytest.raises(PoolExhaustedError, match="eligible 0"):
        campaign.steps(1)
    (override,) = campaign.record.overrides
    assert (override.state, "cannot be known" in override.note) == (OverrideState.VOID, True)
    limit = float(np.median(np.load(campaign.folder / "pool" / "costs.npy")))
    dear = started(instant(tmp_path / "dear", search={"max_cost_s": limit}))
    materia.pin(dear.folder, PINNED, why="worth it")
    record = dear.finish()
    assert record.dossiers[PINNED]["cost_s"] > limit
    assert all(record.dossiers[name]["cost_s"] <= limit for name in names(record) if name != PINNED)


@pytest.mark.parametrize(
    ("kind", "words", "arguments"),
    [
        (SpaceError, "did you mean InSb-rocksalt", {"candidates": "InSb-rocksal", "why": "x"}),
        (SpaceError, "did you mean InSb-rocksalt", {"candidates": "insb-ROCKSALT", "why": "x"}),
        (CampaignError, "needs a reason", {"candidates": PINNED, "why": "  "}),
        (CampaignError, "needs a name", {"candidates": PINNED, "why": "x", "who": "\x1b[31m"}),
        (CampaignError, "no candidate to pin", {"candidates": [], "why": "x"}),
        (CampaignError, "no pin to withdraw", {"candidates": PINNED, "why": "x", "undo": True}),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    tmp_path: Path, kind: type[MateriaError], words: str, arguments: dict[str, object]
) -> None:
    campaign = started(instant(tmp_path))
    with pytest.raises(kind, match=words):
        materia.pin(campaign.folder, **arguments)  # type: ignore[arg-type]
    assert not (campaign.folder / "overrides").exists()


def test_a_damaged_decision_stops_the_driver_with_its_name(tmp_path: Path) -> None:
    campaign = started(instant(tmp_path))
    path = campaign.folder / "overrides" / "20260101T000000.000000Z-000000000000.json"
    path.parent.mkdir()
    path.write_text('{"version": 1, "kind": "ve')
    with pytest.raises(CampaignError, match="cannot be read") as caught:
        campaign.steps(1)
    assert path.name in str(caught.value)
    path.rename(tmp_path / "aside")
    campaign.steps(1)


def test_pins_are_held_against_the_strategy(tmp_path: Path) -> None:
    campaign = started(instant(tmp_path))
    materia.pin(campaign.folder, [PINNED, "InAs-rocksalt"], why="bet")
    record = campaign.finish()
    found = overrides_summary(record)
    hits = {r["candidate_id"] for r in record.ranking if r["hit"]}
    assert found["pins"]["candidates"] == [PINNED, "InAs-rocksalt"]
    for account, expected in (("pins", names(record)[:2]), ("strategy", names(record)[2:])):
        assert found[account]["computed"] == len(expected)
        assert found[account]["hits"] == len(hits & set(expected))
        rate = len(hits & set(expected)) / len(expected)
        assert found[account]["hit_rate_low"] <= rate <= found[account]["hit_rate_high"]
