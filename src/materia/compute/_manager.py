"""One idempotent tick after another: from jobs that are wanted to outcomes, through crashes of everyone involved.

The order of every submission is: intent (one transaction), attempt folders (each published whole), backend,
id. A driver killed between any two of these lines is continued by the next one: see ``_reconcile``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from materia.compute import _attempt
from materia.compute._backend import PASSED_OVER, Backend, Phase, Status, Submission, Task, Ticket, Verdict
from materia.compute._ledger import Job, Ledger, task_of
from materia.compute._retries import Retries, ran_short
from materia.compute._states import JobState
from materia.compute._stores import Store, look_up
from materia.errors import ConfigError, SchedulerError
from materia.record import Outcome, OutcomeKind

MAX_SUBMISSIONS: Final = 3  # of one attempt that the backend keeps losing before anything claims it


class JobManager:
    """Moves the jobs of a ledger through a backend.

    Args:
        ledger: its job tables; the one writer is the caller's business (:class:`~materia.compute.DriverLock`).
        backend: where the work runs.
        root: campaign folder; attempts go to ``root/jobs/KEY/ATTEMPT``.
        stores: folders and functions that are asked for a key before anything runs. The campaign's own
            ``jobs`` folder is always asked first.
        retries: how often which ending is tried again.
    """

    def __init__(
        self,
        ledger: Ledger,
        backend: Backend,
        root: Path,
        *,
        stores: Sequence[Store] = (),
        retries: Retries | None = None,
    ) -> None:
        self.ledger = ledger
        self.backend = backend
        self.root = Path(root).absolute()
        self.stores: tuple[Store, ...] = (self.root, *stores)
        self.retries = retries or Retries()
        self._missing_since: dict[tuple[str, int], float] = {}
        self._looked_up: set[str] = set()

    def advance(self) -> list[Outcome]:
        """One tick: settle submissions that were cut off, collect what ended, submit what is new.

        Returns:
            outcomes that became final in this tick. They are in the ledger already: a caller that was killed
            asks :meth:`Ledger.outcome` for what it waits for.

        Raises:
            SchedulerError: the backend rejects a submission for good; the jobs stay as they are, wanted.
            StorageError: the disk is full or not writable; start again when it is not.
            ConfigError: jobs are under way on another backend than this one.
        """
        self._check_backend()
        self._reconcile()
        return [*self._collect(), *self._submit()]

    @property
    def active(self) -> bool:
        """Whether any job is still without a final outcome."""
        return any(state not in (JobState.DONE, JobState.FAILED) for state in self.ledger.counts())

    @property
    def trouble(self) -> str:
        """Why the backend could not be asked lately; empty when all is well."""
        return self.backend.trouble

    def cancel(self, keys: Iterable[str], reason: str) -> list[Outcome]:
        """End jobs for good, wherever they are; those that have a final outcome keep it."""
        wanted = set(keys)
        tickets = {t.key: t for t in self.ledger.tickets(self.root) if t.key in wanted}
        for ticket in tickets.values():
            if ticket.folder.is_dir() and not _attempt.fence(ticket.folder, OutcomeKind.CANCELLED, "cancelled", reason):
                _attempt.tell_to_end(ticket.folder)
        self.backend.cancel(list(tickets.values()))
        outcomes = []
        for job in self.ledger.jobs(*(s for s in JobState if s not in (JobState.DONE, JobState.FAILED))):
            if job.key in wanted:
                outcome = Outcome(
                    job.key,
                    OutcomeKind.CANCELLED,
                    retryable=True,
                    reason="cancelled",
                    message=reason,
                    attempt=max(1, job.attempts),
                )
                if job.key in tickets:
                    outcome = self._with_usage(tickets[job.key], outcome)
                self.ledger.finish(outcome)
                outcomes.append(outcome)
        return outcomes

    # ------------------------------------------------------------------ settle

    def _check_backend(self) -> None:
        others = self.ledger.backends_in_use() - {self.backend.name}
        if others:
            raise ConfigError(
                f"jobs of this campaign are under way on {', '.join(sorted(others))}, not on {self.backend.name}",
                where="compute.backend",
                remedy="go on with that backend until they have ended, or cancel them",
            )

    def _reconcile(self) -> None:
        doubtful = self.ledger.tasks_in_doubt(self.root)
        if not doubtful:
            return
        answers = self.backend.find(doubtful)
        for task in doubtful:
            answer = answers.get(task.token, Submission(Verdict.UNKNOWN))
            if answer.verdict is Verdict.ACCEPTED:
                self.ledger.accept(task.token, answer.handle)
            elif answer.verdict is Verdict.ABSENT:
                self._hand_over(task)

    # ------------------------------------------------------------------ collect

    def _collect(self) -> list[Outcome]:
        tickets = self.ledger.tickets(self.root, JobState.SUBMITTED, JobState.RUNNING)
        if not tickets:
            return []
        running = {job.key for job in self.ledger.jobs(JobState.RUNNING)}
        statuses = self.backend.poll(tickets)
        outcomes: list[Outcome] = []
        absent: dict[tuple[str, bool], list[Ticket]] = {}
        with self.ledger.transaction():  # one for all that ended: a commit costs more than everything else here
            for ticket in tickets:
                status = statuses.get(ticket.id, Status(Phase.UNKNOWN))
                if status.phase is Phase.RUNNING and ticket.key not in running:
                    self.ledger.set_running(ticket.key)
                elif status.phase is Phase.ABSENT:
                    absent.setdefault((ticket.token, status.reason == PASSED_OVER), []).append(ticket)
                elif status.phase is Phase.ENDED:
                    outcomes += self._end(ticket, status)
        for (_, passed_over), lost in absent.items():
            outcomes += self._lost(lost, passed_over)
        return outcomes

    def _end(self, ticket: Ticket, status: Status) -> list[Outcome]:
        outcome = _attempt.read_result(ticket.folder, ticket.key, ticket.attempt)
        if outcome is None:
            if status.patient and self._wait_for_result(ticket):
                return []
            if status.kind is OutcomeKind.REFUSED:
                if not _attempt.fence(ticket.folder, status.kind, status.reason, status.message):
                    return []  # it was started after all
                self.backend.cancel([ticket])
            damaged = _attempt.quarantined(ticket.folder)
            outcome = Outcome(
                ticket.key,
                status.kind,
                retryable=status.retryable,
                reason="invalid_result" if damaged else status.reason,
                message=f"result.json put aside: {damaged}" if damaged else status.message,
                attempt=ticket.attempt,
            )
        self._missing_since.pop(ticket.id, None)
        return self._settle(ticket, outcome)

    def _wait_for_result(self, ticket: Ticket) -> bool:
        since = self._missing_since.setdefault(ticket.id, time.monotonic())
        return time.monotonic() - since < self.backend.patience_s

    def _lost(self, tickets: Sequence[Ticket], passed_over: bool) -> list[Outcome]:
        """The backend has nothing: hand the same attempts over again, a bounded number of times if it lost them."""
        again = [ticket for ticket in tickets if passed_over or ticket.submissions < MAX_SUBMISSIONS]
        if again:
            self._open([(t.key, t.attempt, t) for t in again], counted=not passed_over)
        outcomes: list[Outcome] = []
        for ticket in tickets:
            if ticket in again:
                continue
            kind, message = OutcomeKind.NODE_FAILURE, f"lost {ticket.submissions} times before it started"
            if _attempt.fence(ticket.folder, kind, "lost", message):
                lost = Outcome(ticket.key, kind, True, "lost", message, attempt=ticket.attempt)
                outcomes += self._settle(ticket, lost)
        return outcomes

    def _settle(self, ticket: Ticket, outcome: Outcome) -> list[Outcome]:
        outcome = self._with_usage(ticket, outcome)
        job = self.ledger.job(ticket.key)
        cautious = ticket.resources if job is None else job.spec.resources
        endings = self.ledger.endings(ticket.key, cautious)
        endings[outcome.kind] += not ran_short(outcome.kind, ticket.resources, cautious)
        more = self.retries.next_resources(outcome, ticket.resources, self.backend.limits(), endings, cautious)
        if more is not None:
            self.ledger.retry(outcome, more)
            return []
        self.ledger.finish(outcome)
        return [outcome]

    def _with_usage(self, ticket: Ticket, outcome: Outcome) -> Outcome:
        """The outcome with what the attempt asked for, was allocated and used."""
        ending = _attempt.read_exit(ticket.folder)
        used: dict[str, Any] = {"backend": self.backend.name, "handle": ticket.handle}
        used["place"] = self.backend.node().name
        used["asked"] = dataclasses.asdict(ticket.resources)
        used["granted"] = dict(self.backend.granted(ticket))
        wall_s, cpu_s = (float(outcome.provenance.get(name, 0.0)) for name in ("wall_s", "cpu_s"))
        if ending is not None:
            used |= {name: ending.record.get(name) for name in ("host", "started", "ended", "max_rss_mb")}
            wall_s, cpu_s = ending.wall_s, ending.cpu_s
        elif wall_s == 0:
            wall_s = _at_most(ticket)
            used["wall_s_at_most"] = wall_s
        return dataclasses.replace(
            outcome,
            folder=ticket.folder.relative_to(self.root).as_posix(),
            wall_s=wall_s,
            cpu_s=cpu_s,
            provenance={**outcome.provenance, "compute": used},
        )

    # ------------------------------------------------------------------ submit

    def _submit(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        waiting: list[Job] = []
        for job in self.ledger.jobs(JobState.NEW):
            known = self._without_running(job)
            if known is None:
                waiting.append(job)
            else:
                self.ledger.finish(known)
                outcomes.append(known)
        if not waiting:
            return outcomes
        waiting.sort(key=lambda job: -job.spec.stage)
        active = [ticket.resources for ticket in self.ledger.tickets(self.root)]
        for group in self.backend.plan([job.resources for job in waiting], active):
            members = [(job.key, self._number(job), job) for job in (waiting[index] for index in group)]
            if self._open(members) in (Verdict.BUSY, Verdict.UNKNOWN):
                break
        return outcomes

    def _without_running(self, job: Job) -> Outcome | None:
        if job.attempts == 0 and job.key not in self._looked_up:
            self._looked_up.add(job.key)
            known = look_up(job.key, self.stores)
            if known is not None:
                folder = Path(known.folder)
                inside = folder.is_relative_to(self.root)
                return dataclasses.replace(
                    known, folder=folder.relative_to(self.root).as_posix() if inside else known.folder
                )
        refusal = self.backend.refusal(job.resources)
        if refusal:
            return Outcome(job.key, OutcomeKind.REFUSED, False, "refused", refusal, attempt=max(1, job.attempts))
        return None

    def _number(self, job: Job) -> int:
        """The attempt's number: one that was rejected before is free, else the next that has no folder."""
        free = self.ledger.open_attempt(job.key)
        if free is not None:
            return free
        number = job.attempts + 1
        while _attempt.folder_of(self.root, job.key, number).exists():
            number += 1
        return number

    def _open(self, members: Sequence[tuple[str, int, Job | Ticket]], *, counted: bool = True) -> Verdict:
        token = f"mt-{uuid4().hex[:16]}"
        asked = [(key, number, member.resources) for key, number, member in members]
        self.ledger.open_task(token, self.backend.name, asked, counted=counted)
        keys = {key for key, _, _ in members}
        tickets = self.ledger.tickets(self.root, JobState.SUBMITTING)
        return self._hand_over(task_of(self.root, [t for t in tickets if t.key in keys]))

    def _hand_over(self, task: Task) -> Verdict:
        """Folders, backend, id. Everything here can be done twice."""
        for ticket in task.members:
            job = self.ledger.job(ticket.key)
            if job is not None:
                _attempt.write_attempt(ticket, job.spec, self.backend.command(job.spec.argv, ticket.resources))
        answer = self.backend.submit(task)
        match answer.verdict:
            case Verdict.ACCEPTED:
                self.ledger.accept(task.token, answer.handle)
            case Verdict.BUSY | Verdict.ABSENT:
                self.ledger.release(task.token)
            case Verdict.REJECTED:
                self.ledger.release(task.token)
                raise SchedulerError(
                    f"{self.backend.name} rejects the job: {answer.words}",
                    where=f"{len(task.members)} job(s), the first is {task.members[0].key}",
                    remedy="correct account, queue or resources in the campaign's compute settings; "
                    "then start again, nothing is lost",
                )
            case Verdict.UNKNOWN:
                pass  # the next tick asks whether it is there
        return answer.verdict


def _at_most(ticket: Ticket) -> float:
    """Seconds an attempt can have run that left no word: from its claim until now, within its walltime."""
    started = float((_attempt.claimed(ticket.folder) or {}).get("started", 0.0))
    return min(max(0.0, time.time() - started), float(ticket.resources.walltime_s)) if started else 0.0
