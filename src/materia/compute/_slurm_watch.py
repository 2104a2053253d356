"""What became of attempts that Slurm has: the launcher's word first, then Slurm's, then signs of life."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from materia import files
from materia.compute import _attempt, _slurm_text
from materia.compute._backend import PASSED_OVER, Phase, Status, Ticket
from materia.compute._slurm_client import SlurmClient, UnansweredError
from materia.compute._slurm_script import Shape, member_log, read_shape, task_folder
from materia.record import OutcomeKind

_AMBIGUOUS_SIGNALS: Final = (-15, -9)
_MISSED_BEATS: Final = 4  # of a process that is believed to be gone

_Seen = Mapping[tuple[str, int], Status]


class SlurmWatch:
    """Answers about tickets, with at most one question to Slurm per poll, whatever the number of jobs.

    The question is to the queue; the next poll's is to accounting where the queue has forgotten someone.
    """

    def __init__(self, client: SlurmClient) -> None:
        self.client, self.site = client, client.site
        self._asked_at = -math.inf
        # by token and slot: an attempt handed over again has another place
        self._known: dict[tuple[str, int], Status] = {}
        self._queue: dict[tuple[str, int], Status] = {}
        self._forgotten: set[tuple[str, int]] = set()
        self._missing_since: dict[tuple[str, int], float] = {}
        self._touched: dict[tuple[str, int], tuple[float, float]] = {}
        self._shapes: dict[str, Shape | None] = {}

    def poll(self, tickets: Sequence[Ticket]) -> Mapping[tuple[str, int], Status]:
        statuses: dict[tuple[str, int], Status] = {}
        open_tickets = []
        for ticket in tickets:
            said = _word_of_launcher(ticket)
            if said is None:
                open_tickets.append(ticket)
            else:
                statuses[ticket.id] = said
        if open_tickets and time.monotonic() - self._asked_at >= self.site.poll_interval_s:
            self._ask(open_tickets)
        for ticket in open_tickets:
            statuses[ticket.id] = self._known.get(ticket.place, Status(Phase.UNKNOWN))
        return statuses

    # ------------------------------------------------------------------ Slurm's word

    def _ask(self, tickets: Sequence[Ticket]) -> None:
        self._asked_at = time.monotonic()
        forgotten = [ticket for ticket in tickets if ticket.place in self._forgotten]
        self._forgotten = set()
        try:
            if forgotten:
                handles = {ticket.handle for ticket in forgotten}
                if all(handles):
                    records = self.client.accounting_of(sorted(handles))
                else:  # of one no id is known yet
                    tokens = sorted({ticket.token for ticket in forgotten})
                    records = self.client.accounting(tokens, min(ticket.since for ticket in forgotten))
                accounted = _seen_in(records, forgotten).items()
                # What the queue has forgotten is not under way: the controller lost it, and accounting was not told.
                seen = {place: status for place, status in accounted if status.phase is Phase.ENDED} | self._queue
                tickets = forgotten
            else:
                tokens = sorted({ticket.token for ticket in tickets})
                seen = self._queue = _seen_in(self.client.queue(tokens), tickets)
                self._known = {}
        except UnansweredError:
            self._known = {}
            return
        for ticket in tickets:
            status = self._status(ticket, seen)
            if status is not None:
                self._missing_since.pop(ticket.place, None)
            elif forgotten or not self.site.accounting:
                status = self._when_missing(ticket)
            else:
                self._forgotten.add(ticket.place)
                continue
            self._known[ticket.place] = self._unless_alive(ticket, status)

    def _status(self, ticket: Ticket, seen: _Seen) -> Status | None:
        """By Slurm's records, or None where a record that matters is missing."""
        if ticket.token not in self._shapes:
            self._shapes[ticket.token] = read_shape(task_folder(ticket))
        shape = self._shapes[ticket.token]
        if shape is None:
            status = seen.get(ticket.place)
            return None if status is None else self._explained(ticket, status, ticket.slot)
        claim = _attempt.claimed(ticket.folder)
        if claim is None:
            return unclaimed_in_pilots([seen.get((ticket.token, member)) for member in range(shape.count)])
        if "revoked" in claim:
            return _attempt.status_of_revoked(claim)
        member = _number(claim.get("slurm_slot"))
        status = seen.get((ticket.token, member))
        return None if status is None else self._explained(ticket, status, member)

    def _explained(self, ticket: Ticket, status: Status, member: int) -> Status:
        waits, crashed = status.phase is Phase.WAITING, status.kind is OutcomeKind.CRASHED
        if not waits and (status.phase is not Phase.ENDED or not crashed):
            return status
        ending = _attempt.read_exit(ticket.folder)
        if waits and ending is None:
            return status
        if waits:  # of no use: its folder is claimed, so the copy will leave at once
            message = "Slurm ended it and put it back into the queue"
            return Status(Phase.ENDED, OutcomeKind.NODE_FAILURE, "requeued", message)
        if ending is not None:
            return _attempt.status_of_exit(ending, ticket.folder)
        if (ticket.folder / "turned-away").exists():
            message = "requeued; the process that had begun it is gone without a word"
            return Status(Phase.ENDED, OutcomeKind.NODE_FAILURE, "requeued", message)
        log = files.tail(member_log(task_folder(ticket), member), 500)
        message = f"{status.message}. {log}" if log else status.message
        return Status(status.phase, status.kind, status.reason, message, status.retryable, status.patient)

    def _when_missing(self, ticket: Ticket) -> Status:
        """Queue and accounting both answered and neither knows it: believed after a while only."""
        since = self._missing_since.setdefault(ticket.place, time.monotonic())
        if time.monotonic() - since < self.site.settle_s:
            return Status(Phase.UNKNOWN)
        claim = _attempt.claimed(ticket.folder)
        if claim is None:
            return Status(Phase.ABSENT)
        if "revoked" in claim:
            return _attempt.status_of_revoked(claim)
        message = f"neither queue nor accounting knows job {ticket.handle} of this attempt any more"
        return Status(Phase.ENDED, OutcomeKind.NODE_FAILURE, "vanished", message)

    # ------------------------------------------------------------------ signs of life

    def _unless_alive(self, ticket: Ticket, status: Status) -> Status:
        """A node that Slurm gave up may still compute: believed dead when its claim is touched no more.

        Slurm declares a node down when its daemon is silent; the job's processes can outlive that, and a requeued
        copy has left at once because the folder was claimed. Times are this machine's: only changes are compared.
        """
        lost = status.kind in (OutcomeKind.NODE_FAILURE, OutcomeKind.CRASHED)
        if status.phase is not Phase.ENDED or not lost:
            self._touched.pop(ticket.place, None)
            return status
        try:
            touched = (ticket.folder / "claim.json").stat().st_mtime
        except OSError:
            return status
        if _attempt.read_exit(ticket.folder) is not None:
            return status
        before, since = self._touched.get(ticket.place, (None, 0.0))
        if touched != before:
            self._touched[ticket.place] = (touched, time.monotonic())
            return Status(Phase.UNKNOWN if before is None else Phase.RUNNING)
        if time.monotonic() - since < _MISSED_BEATS * self.site.heartbeat_s:
            return Status(Phase.UNKNOWN)
        return status


def _seen_in(records: Iterable[_slurm_text.Record], tickets: Sequence[Ticket]) -> dict[tuple[str, int], Status]:
    """By token and slot, what records say of these tickets' tasks."""
    folders = {ticket.token: task_folder(ticket) for ticket in tickets}

    def began(record: _slurm_text.Record) -> bool:
        return record.slot is not None and member_log(folders[record.token], record.slot).exists()

    ours = (record for record in records if record.token in folders)
    return _slurm_text.liveliest(_slurm_text.launched(ours, began))


def unclaimed_in_pilots(pilots: Sequence[Status | None]) -> Status | None:
    """The status of a job no pilot has claimed, from those of the pilots; None where one of them is not known."""
    phases = {status.phase for status in pilots if status is not None}
    if phases & {Phase.WAITING, Phase.RUNNING}:
        return Status(Phase.WAITING)
    known = [status for status in pilots if status is not None]
    if len(known) < len(pilots):
        return None
    if Phase.UNKNOWN in phases:
        return Status(Phase.UNKNOWN)
    for kind, enough in ((OutcomeKind.REFUSED, any), (OutcomeKind.CANCELLED, all)):
        if enough(status.kind is kind for status in known):
            return next(status for status in known if status.kind is kind)
    return Status(Phase.ABSENT, reason=PASSED_OVER)


def _word_of_launcher(ticket: Ticket) -> Status | None:
    """The ending in ``exit.json``, unless a signal ended it: then Slurm knows whose and why."""
    ending = _attempt.read_exit(ticket.folder)
    if ending is None or ending.status == "terminated":
        return None
    if ending.status == "exited" and ending.returncode in _AMBIGUOUS_SIGNALS:
        return None
    return _attempt.status_of_exit(ending, ticket.folder)


def _number(value: Any) -> int:
    return int(value) if str(value).isdigit() else -1
