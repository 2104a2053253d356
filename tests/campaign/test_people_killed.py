"""SIGKILL before the lines at which people's decisions are written and honoured: nothing is lost, nothing doubled."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import materia
from instant_campaign import Instant, instant, killed
from materia.record import CampaignRecord, OverrideKind, OverrideState, PickState
from tiny_campaign import essence

pytestmark = pytest.mark.gpaw
PINNED, UNSEEN = "InSb-rocksalt", "ZnS-zincblende"


def decided(folder: Path) -> Instant:
    """A campaign with its first round picked and nothing submitted, and then all kinds of decisions."""
    campaign = instant(folder)
    campaign.steps(4)
    target = campaign.record.rounds[0].picks[1].candidate_id
    materia.veto(campaign.folder, target, why="toxic", who="Ada")
    materia.pin(campaign.folder, PINNED, why="we can grow it", who="Ada")
    materia.veto(campaign.folder, UNSEEN, why="no zinc", who="Grace")
    materia.pin(campaign.folder, "InAs-rocksalt", why="perhaps", who="Grace")
    materia.pin(campaign.folder, "InAs-rocksalt", why="no", who="Grace", undo=True)
    return campaign


def fate(record: CampaignRecord) -> list[tuple[str, str, str, int | None]]:
    return [(o.kind.value, o.candidate_id, o.state.value, o.round) for o in record.overrides]


def reasons(record: CampaignRecord) -> dict[str, object]:
    """The dossiers but for the trials' numbers: one that was cut off leaves a number behind."""
    return {name: {**found, "trial": 0} for name, found in record.dossiers.items()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_killed_anywhere_honours_the_same(tmp_path: Path) -> None:
    campaign = decided(tmp_path / "campaign")
    copy = tmp_path / "undisturbed"
    shutil.copytree(campaign.folder, copy)
    undisturbed = Instant(campaign.file, copy, campaign.gaps).finish()
    kills = killed(4, "finish", campaign.folder)
    record = campaign.record
    assert kills > 30
    assert record.state == "finished"
    assert essence(record) == essence(undisturbed)
    assert fate(record) == fate(undisturbed)
    assert reasons(record) == reasons(undisturbed)
    states = [p.state for p in record.rounds[0].picks]
    assert states == [PickState.COMPUTED, PickState.VETOED, PickState.COMPUTED, PickState.COMPUTED]
    assert record.rounds[0].picks[3].candidate_id == PINNED, "the pinned one takes the place of the vetoed one"
    assert UNSEEN not in {p.candidate_id for r in record.rounds for p in r.picks}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_killed_anywhere_takes_up_again_what_was_freed(tmp_path: Path) -> None:
    campaign = instant(tmp_path / "campaign")
    campaign.steps(4)
    first, second = (pick.candidate_id for pick in campaign.record.rounds[0].picks[:2])
    materia.veto(campaign.folder, [first, second], why="toxic", who="Ada")
    campaign.steps(1)
    materia.veto(campaign.folder, first, why="not so toxic", who="Ada", undo=True)
    materia.pin(campaign.folder, first, why="we can grow it", who="Ada")
    copy = tmp_path / "undisturbed"
    shutil.copytree(campaign.folder, copy)
    undisturbed = Instant(campaign.file, copy, campaign.gaps).finish()
    kills = killed(4, "finish", campaign.folder)
    record = campaign.record
    assert kills > 30
    assert essence(record) == essence(undisturbed)
    assert fate(record) == fate(undisturbed)
    assert reasons(record) == reasons(undisturbed)
    places = [(p.round, p.slot, p.state) for r in record.rounds for p in r.picks if p.candidate_id == first]
    assert places == [(0, 0, PickState.VETOED), (1, 0, PickState.COMPUTED)]
    assert record.last_pick(second).state is PickState.VETOED


def test_a_command_killed_anywhere_leaves_a_whole_decision_or_none(tmp_path: Path) -> None:
    campaign = instant(tmp_path)
    campaign.steps(1)
    kills = killed(1, "veto", campaign.folder, UNSEEN)
    assert kills > 20
    record = campaign.record  # half a decision would be refused here
    assert {(o.kind, o.candidate_id, o.who, o.why) for o in record.overrides} == {
        (OverrideKind.VETO, UNSEEN, "Ada", "no zinc")
    }
    campaign.steps(1)
    assert {o.state for o in campaign.record.overrides} == {OverrideState.STANDING}
    assert len(list((campaign.folder / "overrides").glob("*.json"))) == len(record.overrides)


@pytest.mark.slow
def test_decisions_of_many_at_once_are_all_there(tmp_path: Path) -> None:
    campaign = instant(tmp_path)
    campaign.steps(1)
    names = campaign.pool.ids[:8]
    code = "import sys, materia; materia.veto(sys.argv[1], sys.argv[2], why='busy', who=sys.argv[2])"
    argv = [sys.executable, "-c", code, str(campaign.folder)]
    children = [subprocess.Popen([*argv, name]) for name in names]
    campaign.steps(2)
    assert [child.wait() for child in children] == [0] * len(names)
    campaign.steps(1)
    standing = {o.candidate_id for o in campaign.record.overrides if o.state is not OverrideState.WAITING}
    assert standing == set(names)
    assert {o.kind for o in campaign.record.overrides} == {OverrideKind.VETO}
