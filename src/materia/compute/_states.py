"""The states of a job and the legal ways between them. This file is the whole of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from materia.errors import MateriaError
from materia.record import Outcome


class JobState(StrEnum):
    """Where a job stands."""

    NEW = "new"  # wanted; no attempt of it is under way
    SUBMITTING = "submitting"  # the intent is committed; whether the backend has it is not known yet
    SUBMITTED = "submitted"  # the backend has it
    RUNNING = "running"  # its process has claimed the attempt folder
    DONE = "done"  # it has a result
    FAILED = "failed"  # it has an outcome other than a result, and no attempt is left (unless wanted again, see LEGAL)


LEGAL: Final[Mapping[JobState, frozenset[JobState]]] = {
    # adopted from a store or refused before any attempt: straight to the end
    JobState.NEW: frozenset({JobState.SUBMITTING, JobState.DONE, JobState.FAILED}),
    # back to NEW: the backend rejected it, or an attempt ended and another is allowed
    JobState.SUBMITTING: frozenset({JobState.SUBMITTED, JobState.NEW, JobState.FAILED}),
    # back to SUBMITTING: the backend is certain that it has nothing, the same attempt is handed over again
    JobState.SUBMITTED: frozenset(
        {JobState.RUNNING, JobState.SUBMITTING, JobState.NEW, JobState.DONE, JobState.FAILED}
    ),
    JobState.RUNNING: frozenset({JobState.NEW, JobState.DONE, JobState.FAILED}),
    JobState.DONE: frozenset(),
    # wanted again after a person had cancelled it, see Ledger.reopen; every other failure is final
    JobState.FAILED: frozenset({JobState.NEW}),
}

ACTIVE: Final = (JobState.SUBMITTING, JobState.SUBMITTED, JobState.RUNNING)
FINAL: Final = (JobState.DONE, JobState.FAILED)


class IllegalTransitionError(MateriaError):
    """A job was to change its state in a way that is not in the table."""


def check_transition(key: str, old: JobState, new: JobState) -> None:
    """Raise :class:`IllegalTransitionError` unless ``old`` to ``new`` is in :data:`LEGAL`."""
    if new not in LEGAL[old]:
        legal = ", ".join(sorted(LEGAL[old])) or "none: it is final"
        raise IllegalTransitionError(
            f"job {key} cannot go from {old} to {new} (legal: {legal})",
            remedy="this is a fault in materia or in a backend: please report it",
        )


def final_state(outcome: Outcome) -> JobState:
    """The final state of a job with this outcome."""
    return JobState.DONE if outcome.ok else JobState.FAILED
