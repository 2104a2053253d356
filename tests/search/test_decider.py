"""The study of a campaign: places, pending, idempotent tells, crashes and lost journals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from materia.errors import CampaignError, PoolExhaustedError, SearchError, StorageError
from materia.record import Pick, PickState
from materia.search import Conditions, Decider, Decision, Objective, SearchSettings


def ask(decider: Decider, toy, round_: int, slot: int, **more: object) -> Decision:
    return decider.ask(round_, slot, beliefs=toy.beliefs, embedding=toy.embedding, **more)  # type: ignore[arg-type]


def as_pick(decision: Decision, state: PickState = PickState.PENDING, reason: str = "") -> Pick:
    return Pick(
        round=decision.round,
        slot=decision.slot,
        candidate_id=decision.candidate_id,
        candidate_index=decision.index,
        trial_number=decision.trial_number,
        score=decision.score,
        state=state,
        reason=reason,
    )


def run(decider: Decider, toy, rounds: int, finish: list[int]) -> list[int]:
    """Picks of some rounds of four, told in the order of ``finish`` (slots); slot 3 fails."""
    picks = []
    for round_ in range(rounds):
        batch = [ask(decider, toy, round_, slot) for slot in range(4)]
        for slot in finish:
            decision = batch[slot]
            if slot == 3:
                decider.tell(decision.trial_number, failure="not_converged")
            else:
                decider.tell(decision.trial_number, toy.values(decision.index))
        picks += [d.index for d in batch]
    return picks


@pytest.mark.parametrize("acquisition", ["probability", "ehvi", "thompson", "random"])
def test_what_finishes_first_changes_nothing(toy, tmp_path: Path, acquisition: str) -> None:
    first = run(toy.decider(tmp_path / "a", acquisition=acquisition), toy, 3, [0, 1, 2, 3])
    second = run(toy.decider(tmp_path / "b", acquisition=acquisition), toy, 3, [3, 1, 0, 2])
    assert first == second
    assert len(set(first)) == 12
    other = run(toy.decider(tmp_path / "c", acquisition="random", seed=8), toy, 3, [0, 1, 2, 3])
    assert other != first


def test_results_of_the_same_round_are_not_looked_at(toy, tmp_path: Path) -> None:
    """A resumed round asks its open slots although earlier ones have finished: same picks as undisturbed."""
    undisturbed = toy.decider(tmp_path / "a", acquisition="ehvi")
    expected = [ask(undisturbed, toy, 0, slot).index for slot in range(4)]
    resumed = toy.decider(tmp_path / "b", acquisition="ehvi")
    for slot in range(2):
        decision = ask(resumed, toy, 0, slot)
        resumed.tell(decision.trial_number, toy.values(decision.index))
    assert [ask(resumed, toy, 0, slot).index for slot in (2, 3)] == expected[2:]


@pytest.mark.parametrize("acquisition", ["probability", "random"])
def test_a_pool_of_a_single_candidate(make_toy, tmp_path: Path, acquisition: str) -> None:
    """Optuna asks no sampler about a parameter that can only have one value."""
    toy = make_toy(1)
    decider = toy.decider(tmp_path / "j", acquisition=acquisition)
    decision = ask(decider, toy, 0, 0)
    assert (decision.index, decision.acquisition, decision.rank) == (0, acquisition, 1)
    decider.tell(decision.trial_number, toy.values(0))
    with pytest.raises(PoolExhaustedError):
        ask(decider, toy, 0, 1)


def test_asked_again_the_same_decision(toy, journal: Path) -> None:
    decider = toy.decider(journal)
    decision = ask(decider, toy, 0, 0)
    assert ask(decider, toy, 0, 0) == decision
    assert ask(toy.decider(journal), toy, 0, 0) == decision
    assert len(decider.study.trials) == 1
    assert decision.key == f"0/0/{toy.ids[decision.index]}"
    assert decision.funnel == {"pool": 60, "eligible": 60, "predicted": 60, "free": 60}


def test_taken_and_pending_are_left_alone(toy, tmp_path: Path) -> None:
    best = ask(toy.decider(tmp_path / "a"), toy, 0, 0).index
    assert ask(toy.decider(tmp_path / "b"), toy, 0, 0, taken={best}).index != best
    other = ask(toy.decider(tmp_path / "c"), toy, 0, 0, pending={best})
    assert other.index != best
    assert other.score["novelty"] < 1.0
    with pytest.raises(PoolExhaustedError, match="free 0"):
        ask(toy.decider(tmp_path / "d"), toy, 0, 0, taken=set(range(60)))
    with pytest.raises(SearchError, match="embedding has 3 rows"):
        toy.decider(tmp_path / "e").ask(0, 0, beliefs=toy.beliefs, embedding=np.zeros((3, 2)))


def test_what_is_told_is_kept(toy, journal: Path) -> None:
    decider = toy.decider(journal)
    good, bad = ask(decider, toy, 0, 0), ask(decider, toy, 0, 1)
    verdict = decider.tell(good.trial_number, {"gap_pbe": 0.5, "energy_above_hull": 0.2, "supply_risk": 0.1})
    decider.tell(bad.trial_number, failure="not_converged")
    assert verdict is not None
    trials = toy.decider(journal).study.trials
    assert trials[0].values == pytest.approx([0.2, 0.2])
    assert trials[0].constraints == pytest.approx({"energy_above_hull below 0.1": 0.1, "supply_risk below 0.5": -0.4})
    assert trials[0].user_attrs["values"]["gap_pbe"] == 0.5
    assert trials[0].user_attrs["hit"] is False
    assert trials[1].state is optuna.trial.TrialState.FAIL
    assert trials[1].values is None
    assert trials[1].user_attrs["failure"] == "not_converged"


def test_telling_twice_is_one_tell_and_contradictions_are_refused(toy, journal: Path) -> None:
    decider = toy.decider(journal)
    good, bad = ask(decider, toy, 0, 0), ask(decider, toy, 0, 1)
    values = toy.values(good.index)
    for _ in range(2):
        decider.tell(good.trial_number, values)
        decider.tell(bad.trial_number, failure="timeout")
    with pytest.raises(SearchError, match="now told"):
        decider.tell(good.trial_number, {**values, "gap_pbe": values["gap_pbe"] + 5.0})
    with pytest.raises(SearchError, match="now told"):
        decider.tell(good.trial_number, failure="timeout")
    with pytest.raises(SearchError, match="now told"):
        decider.tell(bad.trial_number, values)
    with pytest.raises(SearchError, match="either values or a failure"):
        decider.tell(good.trial_number)
    with pytest.raises(SearchError, match="trial 9 is not in the study"):
        decider.tell(9, values)


def test_a_pick_the_database_never_saw_is_an_orphan_and_is_picked_again(toy, journal: Path) -> None:
    decider = toy.decider(journal)
    kept, lost = ask(decider, toy, 0, 0), ask(decider, toy, 0, 1)
    decider = toy.decider(journal)
    assert decider.reconcile([as_pick(kept)]) == [lost.trial_number]
    assert decider.reconcile([as_pick(kept)]) == []
    again = ask(decider, toy, 0, 1)
    assert again.index == lost.index
    assert again.trial_number == lost.trial_number + 1
    assert again.score == lost.score
    orphan = decider.study.trials[lost.trial_number]
    assert orphan.user_attrs["orphan"] is True
    assert orphan.state is optuna.trial.TrialState.FAIL


def test_picks_that_ended_in_the_database_are_told(toy, journal: Path) -> None:
    decider = toy.decider(journal)
    a, b, c = (ask(decider, toy, 0, slot) for slot in range(3))
    picks = [as_pick(a, PickState.COMPUTED), as_pick(b, PickState.FAILED, "walltime"), as_pick(c)]
    with pytest.raises(SearchError, match="no values for the computed pick"):
        decider.reconcile(picks)
    decider.reconcile(picks, {a.trial_number: toy.values(a.index)})
    decider.reconcile(picks)
    states = [t.state.name for t in decider.study.trials]
    assert states == ["COMPLETE", "FAIL", "RUNNING"]
    assert decider.study.trials[1].user_attrs["failure"] == "walltime"


def test_a_lost_journal_is_rebuilt_under_the_same_numbers(toy, tmp_path: Path) -> None:
    before = toy.decider(tmp_path / "a", acquisition="ehvi")
    first = ask(before, toy, 0, 0)
    before.reconcile([])  # an orphan: a hole in the numbers of the database
    batch = [ask(before, toy, 0, slot) for slot in range(3)]
    states = [PickState.COMPUTED, PickState.FAILED, PickState.PENDING]
    picks = [as_pick(d, s, "crash" if s is PickState.FAILED else "") for d, s in zip(batch, states, strict=True)]
    values = {batch[0].trial_number: toy.values(batch[0].index)}
    before.reconcile(picks, values)
    after = toy.decider(tmp_path / "b", acquisition="ehvi")
    after.reconcile(picks, values)
    assert first.index == batch[0].index
    assert [t.state for t in after.study.trials] == [t.state for t in before.study.trials]
    assert [t.values for t in after.study.trials] == [t.values for t in before.study.trials]
    assert ask(after, toy, 1, 0).index == ask(before, toy, 1, 0).index


def test_a_study_that_contradicts_the_database_is_refused(toy, journal: Path) -> None:
    decider = toy.decider(journal)
    decision = ask(decider, toy, 0, 0)
    wrong = replace(as_pick(decision), candidate_index=(decision.index + 1) % toy.n, candidate_id="other")
    with pytest.raises(SearchError, match="holds candidate"):
        decider.reconcile([wrong])


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from conftest import Toy
from materia.search._storage import _Journal
toy = Toy(60)
decider = toy.decider(Path(sys.argv[1]))
print(decider.ask(0, 0, beliefs=toy.beliefs, embedding=toy.embedding).trial_number, flush=True)
after, writes = int(sys.argv[3]), 0
plain = _Journal.append_logs
def append(self, logs):
    global writes
    if writes == after:
        os.kill(os.getpid(), signal.SIGKILL)
    writes += 1
    plain(self, logs)
_Journal.append_logs = append
decider.ask(0, 1, beliefs=toy.beliefs, embedding=toy.embedding)
os.kill(os.getpid(), signal.SIGKILL)  # decided, but the database has not committed it
"""


@pytest.mark.parametrize("writes", [0, 1, 4, 7, 99])
def test_killed_between_deciding_and_committing(toy, tmp_path: Path, writes: int) -> None:
    undisturbed = toy.decider(tmp_path / "a")
    expected = [ask(undisturbed, toy, 0, slot) for slot in range(3)]
    path = tmp_path / "b"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent), str(writes)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    decider = toy.decider(path)
    assert len(decider.reconcile([as_pick(expected[0])])) == (writes > 0)
    resumed = [ask(decider, toy, 0, slot) for slot in (1, 2)]
    assert [d.index for d in resumed] == [d.index for d in expected[1:]]
    assert [d.score for d in resumed] == [d.score for d in expected[1:]]


def test_a_torn_line_is_cut(toy, journal: Path) -> None:
    decider = toy.decider(journal)
    decision = ask(decider, toy, 0, 0)
    whole = journal.read_bytes()
    with journal.open("ab") as file:
        file.write(b'{"op_code": 8, "worker')
    again = toy.decider(journal)  # the next write would have glued itself to the torn line
    second = ask(again, toy, 0, 1)
    assert journal.read_bytes().startswith(whole)
    lines = journal.read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    assert [t.params["candidate"] for t in toy.decider(journal).study.trials] == [decision.index, second.index]


def test_a_stale_lock_of_optuna_does_not_stop_us(toy, journal: Path) -> None:
    toy.decider(journal)
    Path(f"{journal}.lock").symlink_to(journal)  # as a killed writer leaves it
    assert ask(toy.decider(journal), toy, 0, 0).trial_number == 0


def test_a_full_disk_is_said_and_leaves_no_trace(toy, journal: Path) -> None:
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from conftest import Toy; from materia.errors import StorageError\n"
        "toy = Toy(60); decider = toy.decider(Path(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "size = Path(sys.argv[1]).stat().st_size + 700\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "try:\n    decider.ask(0, 0, beliefs=toy.beliefs)\n"
        "except StorageError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(journal), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "cannot write the study" in done.stdout, done.stderr
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    decider = toy.decider(journal)
    decider.reconcile([])
    assert ask(decider, toy, 0, 0).index is not None


def test_journals_that_cannot_be_used(toy, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot open the study"):
        toy.decider(tmp_path / "nowhere" / "optuna.journal")
    damaged = tmp_path / "damaged"
    toy.decider(damaged)
    lines = damaged.read_text().splitlines()
    damaged.write_text("\n".join(["{not json", *lines]) + "\n")
    with pytest.raises(CampaignError, match="journal is damaged"):
        toy.decider(damaged)
    toy.decider(tmp_path / "a")
    with pytest.raises(CampaignError, match="was made for gap_pbe, energy_above_hull, not for gap_pbe"):
        Decider(
            tmp_path / "a",
            "toy",
            Conditions([Objective(quantity="gap_pbe", goal="minimize")]),
            SearchSettings(),
            ids=toy.ids,
        )


def test_the_dashboard_opens_it(toy, journal: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    from wsgiref.util import setup_testing_defaults

    run(toy.decider(journal), toy, 1, [0, 1, 2, 3])
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    app = dashboard.wsgi(storage)

    def get(path: str) -> dict[str, object]:
        environ: dict[str, object] = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        answered: list[str] = []
        body = b"".join(app(environ, lambda status, headers, *_: answered.append(status)))
        assert answered == ["200 OK"], body
        return json.loads(body)

    studies = get("/api/studies")["study_summaries"]
    assert [s["study_name"] for s in studies] == ["toy"]
    trials = get("/api/studies/0")["trials"]
    assert [t["state"] for t in trials] == ["Complete"] * 3 + ["Fail"]


def test_a_pinned_candidate_is_chosen_with_the_score_it_has(toy, tmp_path: Path) -> None:
    free = toy.decider(tmp_path / "a", exploration=0)
    best = ask(free, toy, 0, 0)
    pinned = (best.index + 7) % toy.n
    decider = toy.decider(tmp_path / "b", exploration=0)
    cost = np.ones(toy.n)
    cost[pinned] = 1e6
    decision = ask(decider, toy, 0, 0, pinned=pinned)
    assert (decision.index, decision.pinned, best.pinned) == (pinned, True, False)
    assert decision.rank > best.rank == 1
    assert decision.score["total"] < best.score["total"]
    assert sum(decision.logs.values()) == pytest.approx(np.log(decision.score["total"]))
    assert decider.study.trials[decision.trial_number].user_attrs["pinned"] is True
    second = ask(decider, toy, 0, 1)
    assert second.index != pinned
    assert "novelty" in second.score, "a pinned pick is pending like any other"
    with pytest.raises(SearchError, match="it is taken"):
        ask(decider, toy, 0, 2, pinned=pinned)
    dear = toy.decider(tmp_path / "c", max_cost_s=10.0)
    assert ask(dear, toy, 0, 0, pinned=pinned, cost=cost).index == pinned, "a person may pay more"


def test_people_who_change_their_mind_before_the_pick_is_kept_are_heeded(toy, journal: Path) -> None:
    decider = toy.decider(journal, exploration=0)
    first = ask(decider, toy, 0, 0)
    without = ask(decider, toy, 0, 0, taken={first.index})  # vetoed since
    assert without.index != first.index
    pinned = ask(decider, toy, 0, 0, taken={first.index}, pinned=(first.index + 7) % toy.n)
    assert pinned.pinned
    again = ask(decider, toy, 0, 0, taken={first.index})  # and the pin withdrawn
    assert (again.index, again.pinned) == (without.index, False)
    orphans = [t.user_attrs.get("orphan", False) for t in decider.study.trials]
    assert orphans == [True, True, True, False]
