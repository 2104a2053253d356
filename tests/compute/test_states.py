"""Every transition between job states, legal and not."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from materia.compute import LEGAL, IllegalTransitionError, JobState
from materia.compute._states import ACTIVE, FINAL, check_transition, final_state
from materia.compute.testing import make_job, open_ledger
from materia.record import Outcome, OutcomeKind, Resources

NEW, SUBMITTING, SUBMITTED, RUNNING, DONE, FAILED = JobState
EXPECTED = {
    (NEW, SUBMITTING),
    (NEW, DONE),
    (NEW, FAILED),
    (SUBMITTING, SUBMITTED),
    (SUBMITTING, NEW),
    (SUBMITTING, FAILED),
    (SUBMITTED, RUNNING),
    (SUBMITTED, SUBMITTING),
    (SUBMITTED, NEW),
    (SUBMITTED, DONE),
    (SUBMITTED, FAILED),
    (RUNNING, NEW),
    (RUNNING, DONE),
    (RUNNING, FAILED),
    (FAILED, NEW),  # only what a person had cancelled
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(JobState, JobState)))
def test_transition(old: JobState, new: JobState) -> None:
    if (old, new) in EXPECTED:
        check_transition("k", old, new)
    else:
        with pytest.raises(IllegalTransitionError, match=f"from {old} to {new}"):
            check_transition("k", old, new)


def test_states_are_new_active_or_final() -> None:
    assert {NEW, *ACTIVE, *FINAL} == set(JobState)
    assert [LEGAL[state] for state in FINAL] == [frozenset(), {NEW}]
    assert {final_state(Outcome("k", kind)) for kind in OutcomeKind if kind != "completed"} == {FAILED}
    assert final_state(Outcome("k", OutcomeKind.COMPLETED)) is DONE


@pytest.mark.parametrize("kind", list(OutcomeKind))
def test_only_what_was_cancelled_is_wanted_again(tmp_path: Path, kind: OutcomeKind) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add(make_job(tmp_path, "a"))
    assert not ledger.reopen("a"), "it has not ended"
    ledger.finish(Outcome("a", kind, retryable=True))
    again = kind is OutcomeKind.CANCELLED
    assert ledger.reopen("a") == again
    assert (ledger.outcome("a") is None) == again
    assert (ledger.job("a").state is NEW) == again


def test_the_ledger_refuses_an_illegal_transition_and_changes_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add(make_job(tmp_path, "a"))
    with pytest.raises(IllegalTransitionError):
        ledger.set_running("a")
    ledger.finish(Outcome("a", OutcomeKind.COMPLETED))
    with pytest.raises(IllegalTransitionError):
        ledger.retry(Outcome("a", OutcomeKind.CRASHED, retryable=True), Resources())
    assert ledger.job("a").state is DONE
    assert ledger.outcome("a").ok
