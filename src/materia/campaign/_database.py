"""The campaign's part of ``campaign.sqlite``: what was decided and how it stands. One writer."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia.crystal import Crystal
from materia.errors import CampaignError, StorageError
from materia.record import Climb, Label, Pick, PickState, pick_from_row, to_json, vetoed_key

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rounds (
    number INTEGER PRIMARY KEY, state TEXT NOT NULL, n_labelled INTEGER NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS picks (
    round INTEGER NOT NULL REFERENCES rounds(number), slot INTEGER NOT NULL,
    candidate_id TEXT NOT NULL, candidate_index INTEGER NOT NULL, trial_number INTEGER NOT NULL,
    predictions TEXT NOT NULL, score TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    rung INTEGER NOT NULL DEFAULT 0, job_key TEXT NOT NULL, structure TEXT NOT NULL, labels TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (round, slot));
CREATE TABLE IF NOT EXISTS dossiers (candidate_id TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS climbs (
    candidate_id TEXT NOT NULL, rung INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (candidate_id, rung));
CREATE TABLE IF NOT EXISTS phases (candidate_id TEXT PRIMARY KEY, round INTEGER NOT NULL, content TEXT NOT NULL);
"""
# A candidate is picked once, but for picks that a person has vetoed. Before there were indices, the columns themselves
# were unique.
ONCE = (
    "CREATE UNIQUE INDEX IF NOT EXISTS picks_once_by_id ON picks (candidate_id) WHERE state != 'vetoed'",
    "CREATE UNIQUE INDEX IF NOT EXISTS picks_once_by_index ON picks (candidate_index) WHERE state != 'vetoed'",
)


@dataclass(frozen=True)
class PickRow:
    """A pick and where it stands on the ladder.

    Attributes:
        pick: the decision and its outcome.
        rung: index of the recipe that is running or was last.
        job_key: key of that job.
        structure: the structure that job starts from; once computed, the relaxed one.
    """

    pick: Pick
    rung: int
    job_key: str
    structure: Crystal


class CampaignDatabase:
    """Reads and writes the campaign's tables; ``connection`` is shared with the job ledger.

    Journal mode DELETE and synchronous FULL are safe on network file systems, where WAL is not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=30.0)
            try:
                self.connection.execute("PRAGMA journal_mode=DELETE")
                self.connection.execute("PRAGMA synchronous=FULL")
                self.connection.executescript(SCHEMA)
                if "UNIQUE" not in self._written():  # an older table: its driver brings it up to date
                    self._require_once()
            except BaseException:  # a full disk: nobody else can close it
                self.connection.close()
                raise

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: what is written inside is on disk when the block ends, or was never there."""
        with storage_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def bring_up_to_date(self) -> None:
        """A table of an older version gets the form of this one, in one transaction. For the folder's driver alone: who
        only reads leaves an older folder as it is."""
        written = self._written()
        if "UNIQUE" not in written:
            return
        with self.transaction():
            self.connection.execute("ALTER TABLE picks RENAME TO older_picks")
            self.connection.execute(written.replace(" UNIQUE", ""))
            self.connection.execute("INSERT INTO picks SELECT * FROM older_picks")
            self.connection.execute("DROP TABLE older_picks")
            self._require_once()

    def _written(self) -> str:
        """The statement that made the table of picks."""
        query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'picks'"
        return str(self.connection.execute(query).fetchone()[0])

    def _require_once(self) -> None:
        for statement in ONCE:
            self.connection.execute(statement)

    def meta(self) -> dict[str, Any]:
        rows = self.connection.execute("SELECT key, value FROM meta").fetchall()
        return {key: json.loads(value) for key, value in rows}

    def set_meta(self, values: Mapping[str, Any]) -> None:
        """Write some meta values (within the caller's transaction)."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        self.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def rounds(self) -> list[tuple[int, str]]:
        """(number, state) in order."""
        return self.connection.execute("SELECT number, state FROM rounds ORDER BY number").fetchall()

    def open_round(self, number: int, n_labelled: int, metrics: Mapping[str, float]) -> None:
        with self.transaction():
            row = (number, "open", n_labelled, json.dumps(dict(metrics)))
            self.connection.execute("INSERT INTO rounds VALUES (?, ?, ?, ?)", row)

    def close_round(self, number: int) -> None:
        with self.transaction():
            self.connection.execute("UPDATE rounds SET state = 'closed' WHERE number = ?", (number,))

    def add_pick(self, row: PickRow) -> None:
        """Write a pick (within the caller's transaction, beside the intent of its first job).

        Where the candidate had been picked before, and the pick vetoed, that one's dossier and tests make room.
        """
        pick = row.pick
        query = "SELECT round, slot FROM picks WHERE candidate_id = ? ORDER BY round DESC, slot DESC"
        if before := self.connection.execute(query, (pick.candidate_id,)).fetchone():
            aside = vetoed_key(pick.candidate_id, *before)
            for table in ("dossiers", "climbs"):
                statement = f"UPDATE {table} SET candidate_id = ? WHERE candidate_id = ?"  # noqa: S608
                self.connection.execute(statement, (aside, pick.candidate_id))
        self.connection.execute(
            "INSERT INTO picks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                pick.round,
                pick.slot,
                pick.candidate_id,
                pick.candidate_index,
                pick.trial_number,
                json.dumps(to_json(pick.predictions)),
                json.dumps(to_json(pick.score)),
                pick.state.value,
                pick.reason,
                row.rung,
                row.job_key,
                json.dumps(row.structure.to_record()),
                json.dumps(to_json(pick.labels)),
            ),
        )

    def add_dossier(self, candidate_id: str, content: Mapping[str, Any]) -> None:
        """Write why a candidate was picked (within the caller's transaction, beside the pick)."""
        text = json.dumps(to_json(content), allow_nan=False)
        self.connection.execute("INSERT OR REPLACE INTO dossiers VALUES (?, ?)", (candidate_id, text))

    def add_climb(self, candidate_id: str, climb: Climb | None) -> None:
        """Write a test of the ladder, if there was one (within the caller's transaction, beside what came of it)."""
        if climb is not None:
            row = (candidate_id, climb.rung, json.dumps(to_json(climb), allow_nan=False))
            self.connection.execute("INSERT OR REPLACE INTO climbs VALUES (?, ?, ?)", row)

    def add_phases(self, pick: Pick, phases: Sequence[Any]) -> None:
        """Write the competing phases of a pick, none among them (within the caller's transaction, beside the intent of
        their jobs)."""
        row = (pick.candidate_id, pick.round, json.dumps(to_json(list(phases))))
        self.connection.execute("INSERT OR REPLACE INTO phases VALUES (?, ?, ?)", row)

    def phases(self) -> list[tuple[str, int, list[dict[str, Any]]]]:
        """(candidate id, its round, its competing phases) in order of rounds and ids."""
        rows = self.connection.execute("SELECT candidate_id, round, content FROM phases ORDER BY round, candidate_id")
        return [(name, number, json.loads(content)) for name, number, content in rows.fetchall()]

    def set_pending(self, pick: Pick) -> None:
        """A proposed pick was approved (within the caller's transaction, beside the intent of its first job)."""
        self.connection.execute(
            "UPDATE picks SET state = ? WHERE round = ? AND slot = ?", (PickState.PENDING.value, pick.round, pick.slot)
        )

    def climb(self, pick: Pick, rung: int, job_key: str, structure: Crystal) -> None:
        """The pick goes on to its next rung (within the caller's transaction)."""
        self.connection.execute(
            "UPDATE picks SET rung = ?, job_key = ?, structure = ? WHERE round = ? AND slot = ?",
            (rung, job_key, json.dumps(structure.to_record()), pick.round, pick.slot),
        )

    def finish_pick(
        self,
        pick: Pick,
        state: PickState,
        *,
        reason: str = "",
        labels: tuple[Label, ...] = (),
        structure: Crystal,
        climb: Climb | None = None,
    ) -> None:
        """The pick ended; ``climb``: the test that ended it."""
        with self.transaction():
            self.add_climb(pick.candidate_id, climb)
            self.connection.execute(
                "UPDATE picks SET state = ?, reason = ?, labels = ?, structure = ? WHERE round = ? AND slot = ?",
                (
                    state.value,
                    reason,
                    json.dumps(to_json(labels)),
                    json.dumps(structure.to_record()),
                    pick.round,
                    pick.slot,
                ),
            )

    def picks(self, round_number: int | None = None) -> list[PickRow]:
        """Picks in order of round and slot."""
        where, parameters = ("", ()) if round_number is None else (" WHERE round = ?", (round_number,))
        rows = self.connection.execute(f"SELECT * FROM picks{where} ORDER BY round, slot", parameters)  # noqa: S608
        return [_pick_row(row) for row in rows.fetchall()]


def _pick_row(row: tuple[Any, ...]) -> PickRow:
    return PickRow(pick_from_row((*row[:9], row[12])), row[9], row[10], Crystal.from_record(json.loads(row[11])))


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Say in words that the disk is full or a folder cannot be written.

    Raises:
        StorageError: for a full disk or missing permission.
        CampaignError: the database is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise StorageError(
                f"the campaign's database cannot be written: {error}",
                where=path,
                remedy="free disk space, then run again",
            ) from error
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            raise StorageError(
                f"no permission to write the campaign's database: {error}",
                where=path,
                remedy="choose a folder you can write to (--folder)",
            ) from error
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise CampaignError(f"the campaign's database is damaged: {error}", where=path) from error
        raise
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        raise StorageError(
            f"cannot write: {error.strerror}",
            where=error.filename or path,
            remedy="free disk space or choose a folder you can write to, then run the same command again",
        ) from error
