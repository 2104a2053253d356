"""The job tables of ``campaign.sqlite``: what is wanted, what was handed to a backend, how it ended.

The connection is passed in and belongs to the campaign (``isolation_level=None``, ``journal_mode=DELETE``,
``synchronous=FULL``); a job can so be added in the same transaction as the pick that wants it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia.compute._attempt import check_key, check_payload, folder_of
from materia.compute._backend import Task, Ticket
from materia.compute._retries import ran_short
from materia.compute._states import ACTIVE, JobState, check_transition, final_state
from materia.errors import MateriaError, StorageError
from materia.record import AttemptRecord, JobSpec, Outcome, OutcomeKind, Resources, attempt_from_row, to_json

_TABLES = (
    """CREATE TABLE IF NOT EXISTS jobs (
        key TEXT PRIMARY KEY, name TEXT NOT NULL, spec TEXT NOT NULL, state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, outcome TEXT, resources TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state)",
    """CREATE TABLE IF NOT EXISTS tasks (
        token TEXT PRIMARY KEY, backend TEXT NOT NULL, handle TEXT NOT NULL DEFAULT '', since REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS attempts (
        key TEXT NOT NULL REFERENCES jobs (key), attempt INTEGER NOT NULL,
        token TEXT REFERENCES tasks (token), slot INTEGER NOT NULL DEFAULT 0,
        submissions INTEGER NOT NULL DEFAULT 0, resources TEXT NOT NULL, ended TEXT, outcome TEXT,
        PRIMARY KEY (key, attempt))""",
    "CREATE INDEX IF NOT EXISTS attempts_by_token ON attempts (token)",
)


@dataclass(frozen=True)
class Job:
    """A job as the ledger has it. ``resources``: what its next or running attempt asks for."""

    key: str
    name: str
    spec: JobSpec
    state: JobState
    attempts: int
    outcome: Outcome | None
    resources: Resources


class Ledger:
    """The job tables. Every method is one transaction, or part of the caller's where one is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        if connection.isolation_level is not None:
            raise MateriaError(
                "the ledger's connection begins transactions by itself",
                remedy="open it with sqlite3.connect(path, isolation_level=None)",
            )
        self._db = connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when the block is over; inside an open transaction, a part of that one.

        Raises:
            StorageError: the disk is full or the database cannot be written.
        """
        if self._db.in_transaction:
            yield
        else:
            with self._own_transaction():
                yield

    @contextmanager
    def _own_transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                file = self._db.execute("PRAGMA database_list").fetchone()[2]
                raise StorageError(
                    f"cannot write the campaign's database: {error}",
                    where=file,
                    remedy="free some space or give yourself permission; then start again, nothing is lost",
                ) from error
            raise

    def create_tables(self) -> None:
        """Create what is missing; safe to call on every start."""
        with self.transaction():
            for statement in _TABLES:
                self._db.execute(statement)

    # ------------------------------------------------------------------ jobs

    def add(self, spec: JobSpec, asked: Resources | None = None) -> bool:
        """Write the intent to compute a job; a key that is already there is left as it is.

        Args:
            spec: the job, with its own cautious request.
            asked: what its first attempt asks for, where that is something else.

        Returns:
            whether it is new.

        Raises:
            MateriaError: a key that cannot be a folder name, a payload that is not JSON, no command.
        """
        check_key(spec.key)
        check_payload(spec)
        if not spec.argv:
            raise MateriaError(f"job {spec.name or spec.key} has no command", remedy="give its argv")
        with self.transaction():
            cursor = self._db.execute(
                "INSERT OR IGNORE INTO jobs (key, name, spec, state, resources) VALUES (?, ?, ?, ?, ?)",
                (spec.key, spec.name, _dump(spec), JobState.NEW.value, _dump(asked or spec.resources)),
            )
        return cursor.rowcount == 1

    def jobs(self, *states: JobState) -> list[Job]:
        """Jobs in the order they were added, all of them or those in the given states."""
        where = f"WHERE state IN ({','.join('?' * len(states))})" if states else ""
        rows = self._db.execute(
            f"SELECT key, name, spec, state, attempts, outcome, resources FROM jobs {where} ORDER BY rowid",  # noqa: S608
            [state.value for state in states],
        )
        return [_job(row) for row in rows]

    def job(self, key: str) -> Job | None:
        """One job, or None where the key is not known."""
        row = self._db.execute(
            "SELECT key, name, spec, state, attempts, outcome, resources FROM jobs WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else _job(row)

    def outcome(self, key: str) -> Outcome | None:
        """The final outcome of a job, or None where there is none yet."""
        row = self._db.execute("SELECT outcome FROM jobs WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else _outcome(row[0])

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state (states without jobs left out)."""
        rows = self._db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state")
        return {JobState(state): n for state, n in rows}

    # ------------------------------------------------------------------ attempts and tasks

    def open_task(
        self, token: str, backend: str, members: Sequence[tuple[str, int, Resources]], *, counted: bool = True
    ) -> None:
        """Write the intent to submit a task: its members' jobs become SUBMITTING.

        ``counted``: whether an attempt handed over before counts this as another submission.
        """
        with self.transaction():
            self._db.execute(
                "INSERT INTO tasks (token, backend, since) VALUES (?, ?, ?)", (token, backend, time.time())
            )
            for slot, (key, attempt, resources) in enumerate(members):
                self._db.execute(
                    """INSERT INTO attempts (key, attempt, token, slot, submissions, resources)
                    VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (key, attempt) DO UPDATE SET
                    token = excluded.token, slot = excluded.slot, submissions = submissions + ?""",
                    (key, attempt, token, slot, _dump(resources), int(counted)),
                )
                self._move(key, JobState.SUBMITTING)
                self._db.execute("UPDATE jobs SET attempts = ? WHERE key = ?", (attempt, key))

    def accept(self, token: str, handle: str) -> None:
        """The backend has the task: store its id, its jobs become SUBMITTED."""
        with self.transaction():
            self._db.execute("UPDATE tasks SET handle = ? WHERE token = ?", (handle, token))
            for key in self._members(token):
                self._move(key, JobState.SUBMITTED)

    def release(self, token: str) -> None:
        """The backend does not have the task and will not: its jobs are NEW again, no attempt is counted."""
        with self.transaction():
            for key in self._members(token):
                self._move(key, JobState.NEW)

    def set_running(self, key: str) -> None:
        """The job's process has claimed its folder."""
        with self.transaction():
            self._move(key, JobState.RUNNING)

    def finish(self, outcome: Outcome) -> None:
        """The job has its final outcome."""
        with self.transaction():
            self._end_attempt(outcome)
            self._move(outcome.key, final_state(outcome))
            self._db.execute("UPDATE jobs SET outcome = ? WHERE key = ?", (_dump(outcome), outcome.key))

    def retry(self, outcome: Outcome, resources: Resources) -> None:
        """The attempt ended without what was wanted; the job is NEW again and asks for ``resources``."""
        with self.transaction():
            self._end_attempt(outcome)
            self._move(outcome.key, JobState.NEW)
            self._db.execute("UPDATE jobs SET resources = ? WHERE key = ?", (_dump(resources), outcome.key))

    def reopen(self, key: str) -> bool:
        """Want a cancelled job again: it is NEW, and its next attempt has a folder of its own. What ended it says
        nothing about the job; any other outcome stays as it is.

        Returns:
            whether it was cancelled.
        """
        with self.transaction():
            ended = self.outcome(key)
            if ended is None or ended.kind is not OutcomeKind.CANCELLED:
                return False
            self._move(key, JobState.NEW)
            self._db.execute("UPDATE jobs SET outcome = NULL WHERE key = ?", (key,))
        return True

    def open_attempt(self, key: str) -> int | None:
        """The number of an attempt that was intended and rejected, and is free to be handed over again."""
        row = self._db.execute("SELECT MAX(attempt) FROM attempts WHERE key = ? AND outcome IS NULL", (key,)).fetchone()
        return None if row[0] is None else int(row[0])

    def attempts(self) -> dict[str, list[AttemptRecord]]:
        """By key of their job: every attempt, in order."""
        found: dict[str, list[AttemptRecord]] = {}
        for row in self._db.execute("SELECT key, attempt, resources, outcome FROM attempts ORDER BY key, attempt"):
            found.setdefault(row[0], []).append(attempt_from_row(row[1:]))
        return found

    def endings(self, key: str, cautious: Resources | None = None) -> Counter[OutcomeKind]:
        """How many attempts of a job ended in which way; without those that ran out of less than ``cautious``."""
        rows = self._db.execute("SELECT ended, resources FROM attempts WHERE key = ? AND ended IS NOT NULL", (key,))
        ended = [(OutcomeKind(kind), _resources(asked)) for kind, asked in rows]
        return Counter(kind for kind, asked in ended if cautious is None or not ran_short(kind, asked, cautious))

    def tickets(self, root: Path, *states: JobState) -> list[Ticket]:
        """The attempts under way of jobs in these (or all active) states, in the order of the jobs."""
        wanted = states or ACTIVE
        rows = self._db.execute(
            f"""SELECT a.key, a.attempt, a.resources, a.token, a.slot, t.handle, a.submissions, t.since
            FROM jobs j JOIN attempts a ON a.key = j.key AND a.attempt = j.attempts
            JOIN tasks t ON t.token = a.token
            WHERE j.state IN ({",".join("?" * len(wanted))}) ORDER BY j.rowid""",  # noqa: S608
            [state.value for state in wanted],
        )
        return [
            Ticket(key, attempt, folder_of(root, key, attempt), _resources(asked), *rest)
            for key, attempt, asked, *rest in rows
        ]

    def backends_in_use(self) -> set[str]:
        """Names of the backends that have attempts under way."""
        rows = self._db.execute(
            f"""SELECT DISTINCT t.backend FROM jobs j JOIN attempts a ON a.key = j.key AND a.attempt = j.attempts
            JOIN tasks t ON t.token = a.token WHERE j.state IN ({",".join("?" * len(ACTIVE))})""",  # noqa: S608
            [state.value for state in ACTIVE],
        )
        return {row[0] for row in rows}

    def tasks_in_doubt(self, root: Path) -> list[Task]:
        """Tasks whose intent is written and whose id is not: the submission was cut off."""
        tasks: dict[str, list[Ticket]] = {}
        for ticket in self.tickets(root, JobState.SUBMITTING):
            tasks.setdefault(ticket.token, []).append(ticket)
        return [task_of(root, tickets) for tickets in tasks.values()]

    def _members(self, token: str) -> list[str]:
        rows = self._db.execute(
            """SELECT a.key FROM attempts a JOIN jobs j ON j.key = a.key AND j.attempts = a.attempt
            WHERE a.token = ? AND j.state = ? ORDER BY a.slot""",
            (token, JobState.SUBMITTING.value),
        )
        return [row[0] for row in rows]

    def _end_attempt(self, outcome: Outcome) -> None:
        self._db.execute(
            "UPDATE attempts SET ended = ?, outcome = ? WHERE key = ? AND attempt = ? AND ended IS NULL",
            (outcome.kind.value, _dump(outcome), outcome.key, outcome.attempt),
        )

    def _move(self, key: str, new: JobState) -> None:
        row = self._db.execute("SELECT state FROM jobs WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise MateriaError(f"there is no job {key}", remedy="add it first")
        check_transition(key, JobState(row[0]), new)
        self._db.execute("UPDATE jobs SET state = ? WHERE key = ?", (new.value, key))


def task_of(root: Path, members: Iterable[Ticket]) -> Task:
    """The task these tickets, all of one token, are in."""
    ordered = tuple(sorted(members, key=lambda ticket: ticket.slot))
    return Task(ordered[0].token, root / "tasks" / ordered[0].token, ordered, ordered[0].since)


def _dump(value: Any) -> str:
    return json.dumps(to_json(value), allow_nan=False)


def _resources(text: str) -> Resources:
    return Resources(**json.loads(text))


def _outcome(text: str) -> Outcome:
    record = json.loads(text)
    return Outcome(**{**record, "kind": OutcomeKind(record["kind"])})


def _job(row: Sequence[Any]) -> Job:
    key, name, spec_text, state, attempts, outcome, resources = row
    record = json.loads(spec_text)
    spec = JobSpec(**{**record, "argv": tuple(record["argv"]), "resources": Resources(**record["resources"])})
    return Job(
        key,
        name,
        spec,
        JobState(state),
        attempts,
        None if outcome is None else _outcome(outcome),
        _resources(resources),
    )
