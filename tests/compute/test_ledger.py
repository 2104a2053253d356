"""The ledger: intents inside the caller's transaction, idempotent, and what is read back is what was written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from materia.compute import JobState, Ledger
from materia.compute.testing import make_job, open_ledger
from materia.errors import MateriaError
from materia.record import JobSpec, Outcome, OutcomeKind, Resources


def test_a_job_comes_back_as_it_was_added(tmp_path: Path) -> None:
    spec = JobSpec("k1", ("python", "-c", "1"), {"x": [1, {"y": 0.1}]}, {"n_atoms": 2.0}, Resources(3, 4, 5), "nä'me")
    ledger = open_ledger(tmp_path)
    assert ledger.add(spec)
    (job,) = open_ledger(tmp_path).jobs()
    assert job.spec == spec
    assert (job.state, job.attempts, job.outcome, job.resources) == (JobState.NEW, 0, None, spec.resources)


def test_added_once(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    assert ledger.add(make_job(tmp_path, "a"))
    assert not ledger.add(make_job(tmp_path, "a", "fail"))
    assert ledger.job("a").spec.payload["behaviour"] == "complete"


def test_part_of_the_caller_s_transaction(tmp_path: Path) -> None:
    """A pick and the intent of its first job: both or neither."""
    connection = sqlite3.connect(tmp_path / "campaign.sqlite", isolation_level=None)
    ledger = Ledger(connection)
    ledger.create_tables()
    ledger.create_tables()
    connection.execute("CREATE TABLE picks (id TEXT)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO picks VALUES ('GaAs')")
    ledger.add(make_job(tmp_path, "a"))
    assert connection.in_transaction
    connection.execute("ROLLBACK")
    assert ledger.jobs() == []
    with ledger.transaction():
        connection.execute("INSERT INTO picks VALUES ('GaAs')")
        ledger.add(make_job(tmp_path, "a"))
    assert len(open_ledger(tmp_path).jobs()) == 1
    assert connection.execute("SELECT COUNT(*) FROM picks").fetchone() == (1,)


def test_a_connection_that_begins_by_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MateriaError, match="isolation_level=None"):
        Ledger(sqlite3.connect(tmp_path / "x.sqlite"))


@pytest.mark.parametrize("key", ["", "../escape", "a/b", ".hidden", "a b", "a\n", "ä", "x" * 129])
def test_a_key_that_is_no_folder_name_is_refused(tmp_path: Path, key: str) -> None:
    ledger = open_ledger(tmp_path)
    with pytest.raises(MateriaError, match="cannot be a folder name"):
        ledger.add(make_job(tmp_path, key))
    assert ledger.jobs() == []


def test_payloads_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    with pytest.raises(MateriaError, match="not JSON"):
        ledger.add(make_job(tmp_path, "a", number=float("nan")))
    with pytest.raises(MateriaError, match="not JSON"):
        ledger.add(make_job(tmp_path, "a", number=object()))
    with pytest.raises(MateriaError, match="'attempt'"):
        ledger.add(make_job(tmp_path, "a", attempt=3))
    with pytest.raises(MateriaError, match="no command"):
        ledger.add(JobSpec("a", (), {}))


def test_outcomes_and_counts(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for key in ("c", "a", "b"):
        ledger.add(make_job(tmp_path, key))
    outcome = Outcome("a", OutcomeKind.FAILED, False, "not_converged", "no", {}, {"host": "x"}, "jobs/a/1", 1.5, 1.0)
    ledger.finish(outcome)
    assert ledger.outcome("a") == outcome
    assert ledger.outcome("b") is None
    assert ledger.outcome("unknown") is None
    assert [job.key for job in ledger.jobs()] == ["c", "a", "b"]
    assert ledger.counts() == {JobState.NEW: 2, JobState.FAILED: 1}
