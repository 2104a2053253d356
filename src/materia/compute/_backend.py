"""What a backend is: it is handed tasks, and says what became of the attempts in them.

A backend never decides whether a calculation counts: results come from the attempt folders, and of several
processes started for one attempt the launcher's claim lets only one run. So a backend may be asked to submit
again whenever it is certain that it has nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from materia.compute._accounting import Node
from materia.compute._retries import Limits
from materia.record import OutcomeKind, Resources


class Phase(StrEnum):
    """What a backend knows of an attempt."""

    WAITING = "waiting"  # it has it and will start it
    RUNNING = "running"
    ENDED = "ended"
    ABSENT = "absent"  # it is certain that it has nothing and that nothing claimed the folder
    UNKNOWN = "unknown"  # it could not be asked, or its answer is not final: never a reason to act


PASSED_OVER: Final = "passed_over"
"""Reason of an ABSENT attempt whose allocation ended in good order before its turn: handed over again, uncounted."""


@dataclass(frozen=True)
class Status:
    """A backend's answer about one attempt.

    Attributes:
        phase: see :class:`Phase`.
        kind: how it ended, where it ended (what is true if there is no valid result).
        reason, message: short and long word on it.
        retryable: whether another attempt could end otherwise.
        patient: it says it ended well, so a result may still be on its way through a network file system.
    """

    phase: Phase
    kind: OutcomeKind = OutcomeKind.CRASHED
    reason: str = ""
    message: str = ""
    retryable: bool = True
    patient: bool = False


@dataclass(frozen=True)
class Ticket:
    """One attempt of a job on its way.

    Attributes:
        key, attempt: which.
        folder: its attempt folder.
        resources: what it asks for.
        token: name of the task it is in.
        slot: its place in that task.
        handle: the backend's id of the task; empty until it is known.
        submissions: how often it was handed to the backend.
        since: when the intent was written, in seconds since 1970.
    """

    key: str
    attempt: int
    folder: Path
    resources: Resources
    token: str
    slot: int = 0
    handle: str = ""
    submissions: int = 1
    since: float = 0.0

    @property
    def id(self) -> tuple[str, int]:
        return self.key, self.attempt

    @property
    def place(self) -> tuple[str, int]:
        return self.token, self.slot


@dataclass(frozen=True)
class Task:
    """What a backend runs at once: one or many attempts that ask for the same resources.

    Attributes:
        token: unique name, known to the backend from the moment of submission (a job name, for Slurm).
        folder: a folder the backend may write for the task; it is not there yet.
        members: in slot order.
        since: when the intent was written, in seconds since 1970.
    """

    token: str
    folder: Path
    members: tuple[Ticket, ...]
    since: float = 0.0


class Verdict(StrEnum):
    """The answer to a submission, or to the question whether there was one."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # refused for good, in words a person has to read
    BUSY = "busy"  # refused for now
    ABSENT = "absent"  # asked for by its token: certainly not there
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Submission:
    verdict: Verdict
    handle: str = ""
    words: str = ""


@runtime_checkable
class Backend(Protocol):
    """Where work runs. Implementations are found by the entry point group ``materia.backends``.

    Attributes:
        name: as in settings.
        poll_interval_s: how often asking is worth it.
        patience_s: how long a result may stay invisible after a job ended well.
        trouble: why it could not be asked lately; empty when all is well.
    """

    name: str
    poll_interval_s: float
    patience_s: float

    @property
    def trouble(self) -> str: ...

    def limits(self) -> Limits:
        """The most one job may ask for."""
        ...

    def node(self) -> Node:
        """The node that jobs get shares of, as far as it is known; its name is that of the machine or site."""
        ...

    def granted(self, ticket: Ticket) -> Mapping[str, float]:
        """What an attempt is allocated, its share where it shares: ``cores``, ``memory_mb``, ``gpus`` if any."""
        ...

    def refusal(self, resources: Resources) -> str:
        """Why a job that asks for this would never start; empty if it would."""
        ...

    def plan(self, waiting: Sequence[Resources], active: Sequence[Resources]) -> list[list[int]]:
        """Which waiting jobs to submit now, as groups of indices; each group becomes a task."""
        ...

    def command(self, argv: Sequence[str], resources: Resources | None = None) -> list[str]:
        """``argv`` as it is to run there: ``python`` replaced by the interpreter of that place, and several ranks under
        what launches them, or with that in the place of the word ``LAUNCH`` (``Mpi.command`` does it)."""
        ...

    def submit(self, task: Task) -> Submission:
        """Hand the task over. May be called again with the same task after UNKNOWN."""
        ...

    def find(self, tasks: Sequence[Task]) -> Mapping[str, Submission]:
        """By token: whether tasks whose submission was cut off are there."""
        ...

    def poll(self, tickets: Sequence[Ticket]) -> Mapping[tuple[str, int], Status]:
        """What became of these attempts."""
        ...

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """End these attempts, running or waiting."""
        ...
