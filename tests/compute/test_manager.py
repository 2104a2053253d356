"""The manager: fencing, quarantine, stores, retries, a full disk."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from materia.compute import JobManager, JobState, Ledger, Limits, LocalBackend, Retries
from materia.compute.testing import drive, make_job, open_ledger, runs
from materia.errors import ConfigError, StorageError
from materia.record import Outcome, OutcomeKind, Resources


@pytest.fixture
def manager(tmp_path: Path) -> JobManager:
    return JobManager(open_ledger(tmp_path), LocalBackend(cores=4), tmp_path)


def result(key: str, attempt: int, **changes: object) -> str:
    record = {"version": 1, "key": key, "attempt": attempt, "status": "completed", "values": {"x": 1.0}}
    return json.dumps({**record, **changes})


def test_job_folder_and_outcome(manager: JobManager, tmp_path: Path) -> None:
    manager.ledger.add(make_job(tmp_path, "a", number=3))
    outcome = drive(manager)["a"]
    folder = tmp_path / outcome.folder
    assert outcome.folder == "jobs/a/1"
    job = json.loads((folder / "job.json").read_text())
    assert (job["key"], job["attempt"], job["number"]) == ("a", 1, 3)
    assert outcome.wall_s > 0
    assert outcome.cpu_s > 0
    assert outcome.provenance["program"] == "testjob"
    assert outcome.provenance["compute"]["max_rss_mb"] > 1
    assert manager.advance() == []


def test_a_stale_attempt_is_refused(manager: JobManager, tmp_path: Path) -> None:
    """The first attempt is given up; what it publishes late is not believed, not even in the new folder."""
    manager.ledger.add(make_job(tmp_path, "a", ["crash", "hang"]))
    while runs(tmp_path)["a"] < 2:
        manager.advance()
        time.sleep(0.02)
    (tmp_path / "jobs/a/1/result.json").write_text(result("a", 1, values={"x": "stale"}))
    assert manager.advance() == []
    (tmp_path / "jobs/a/2/result.json").write_text(result("a", 1, values={"x": "stale"}))
    os.kill(json.loads((tmp_path / "jobs/a/2/running.json").read_text())["pid"], 9)
    outcome = drive(manager)["a"]
    assert outcome.kind is OutcomeKind.CRASHED
    assert "attempt is 1, expected 2" in outcome.message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (result("b", 1), "key is 'b', expected 'a'"),
        (result("a", 1, version=2), "version is 2, expected 1"),
        (result("a", 1, status="maybe"), "status is 'maybe'"),
        (result("a", 1, values=[1]), "values is not a JSON object"),
        (result("a", 1)[:-9], "no JSON"),
        ("[1]", "not a JSON object"),
        ("\udcff", "no JSON"),
    ],
)
def test_what_is_no_result_is_put_aside(tmp_path: Path, text: str, why: str) -> None:
    from materia.compute._attempt import read_result

    path = tmp_path / "result.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_result(tmp_path, "a", 1) is None
    assert not path.exists()
    assert (tmp_path / "result.json.quarantined-1").read_bytes() == text.encode("utf-8", "surrogateescape")
    assert why in (tmp_path / "result.json.quarantined-1.why").read_text()


def test_what_another_campaign_computed_is_not_computed_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    earlier = JobManager(open_ledger(first), LocalBackend(cores=4), first)
    behaviours = {"good": "complete", "hopeless": "fail", "unlucky": "crash"}
    for key, behaviour in behaviours.items():
        earlier.ledger.add(make_job(first, key, behaviour, number=3))
    drive(earlier)
    later = JobManager(open_ledger(second), LocalBackend(cores=4), second, stores=[first])
    for key in behaviours:
        later.ledger.add(make_job(second, key))
    outcomes = drive(later)
    assert outcomes["good"].values["square"] == 9
    assert outcomes["hopeless"].reason == "not_converged"
    assert outcomes["unlucky"].ok
    assert runs(second) == {"unlucky": 1}
    assert Path(outcomes["good"].folder) == first / "jobs/good/1"


def test_a_function_as_store(tmp_path: Path) -> None:
    known = Outcome("a", OutcomeKind.COMPLETED, values={"x": 5.0}, folder="elsewhere")
    store = {"a": known}.get
    manager = JobManager(open_ledger(tmp_path), LocalBackend(cores=1), tmp_path, stores=[store])
    manager.ledger.add(make_job(tmp_path, "a"))
    (outcome,) = manager.advance()
    assert outcome == known
    assert not (tmp_path / "jobs").exists()


def test_job_folders_outlive_a_lost_database(manager: JobManager, tmp_path: Path) -> None:
    manager.ledger.add(make_job(tmp_path, "a"))
    drive(manager)
    (tmp_path / "campaign.sqlite").unlink()
    again = JobManager(open_ledger(tmp_path), LocalBackend(cores=1), tmp_path)
    again.ledger.add(make_job(tmp_path, "a"))
    (outcome,) = again.advance()
    assert (outcome.kind, outcome.folder) == (OutcomeKind.COMPLETED, "jobs/a/1")
    assert runs(tmp_path) == {"a": 1}


def test_another_backend_does_not_take_over_jobs_under_way(manager: JobManager, tmp_path: Path) -> None:
    manager.ledger.add(make_job(tmp_path, "a", seconds=0.5))
    manager.advance()
    other = LocalBackend(cores=1)
    other.name = "other"
    with pytest.raises(ConfigError, match="under way on local, not on other"):
        JobManager(manager.ledger, other, tmp_path).advance()
    drive(manager)


@pytest.mark.parametrize(
    ("kind", "endings", "asked", "expected"),
    [
        (OutcomeKind.CRASHED, 1, Resources(1, 100, 60), Resources(1, 100, 60)),
        (OutcomeKind.CRASHED, 2, Resources(1, 100, 60), None),
        (OutcomeKind.TIMEOUT, 1, Resources(1, 100, 60), Resources(1, 100, 120)),
        (OutcomeKind.TIMEOUT, 2, Resources(1, 100, 120), Resources(1, 100, 200)),
        (OutcomeKind.TIMEOUT, 2, Resources(1, 100, 200), None),
        (OutcomeKind.OUT_OF_MEMORY, 1, Resources(1, 100, 60), Resources(1, 200, 60)),
        (OutcomeKind.OUT_OF_MEMORY, 3, Resources(1, 200, 60), None),
        (OutcomeKind.NODE_FAILURE, 4, Resources(1, 100, 60), Resources(1, 100, 60)),
        (OutcomeKind.NODE_FAILURE, 5, Resources(1, 100, 60), None),
        (OutcomeKind.CANCELLED, 1, Resources(1, 100, 60), None),
        (OutcomeKind.REFUSED, 1, Resources(1, 100, 60), None),
    ],
)
def test_what_follows_an_ending(kind: OutcomeKind, endings: int, asked: Resources, expected: Resources | None) -> None:
    outcome = Outcome("a", kind, retryable=True)
    limits = Limits(memory_mb=1000, walltime_s=200)
    assert Retries().next_resources(outcome, asked, limits, Counter({kind: endings})) == expected


def test_a_deterministic_failure_is_not_repeated() -> None:
    outcome = Outcome("a", OutcomeKind.FAILED, retryable=False)
    assert Retries().next_resources(outcome, Resources(), Limits(), Counter({outcome.kind: 1})) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a full disk takes a small tmpfs, and mounting one takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            pass
    if leave:
        os.truncate(ballast, max(0, ballast.stat().st_size - leave))
    return ballast


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16384, 24576])
def test_full_disk(small_disk: Path, leave: int, tmp_path: Path) -> None:
    """Said in plain words, nothing half-written; and with space again it goes on as if nothing had been."""
    connection = sqlite3.connect(small_disk / "campaign.sqlite", isolation_level=None)
    ledger = Ledger(connection)
    ledger.create_tables()
    manager = JobManager(ledger, LocalBackend(cores=1), small_disk)
    ledger.add(make_job(tmp_path, "a", number=2))
    ballast = fill(small_disk, leave)
    with pytest.raises(StorageError, match=r"(?s)No space left|disk is full|full.*free some space"):
        for _ in range(100):
            ledger.add(make_job(tmp_path, f"more{_}", text="x" * 2000))
            manager.advance()
            time.sleep(0.01)
    for folder in small_disk.glob("jobs/*/*"):
        assert not folder.name.endswith(".tmp")
        json.loads((folder / "job.json").read_text())
        json.loads((folder / "task.json").read_text())
    ballast.unlink()
    assert drive(manager)["a"].values["square"] == 4
    assert runs(tmp_path)["a"] <= 2
    assert set(runs(tmp_path).values()) <= {1, 2}
    assert {job.state for job in ledger.jobs()} == {JobState.DONE}


def test_no_permission_is_said(tmp_path: Path) -> None:
    from materia.files import write_folder

    (tmp_path / "file").write_text("")
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("root may write everywhere")
        with pytest.raises(StorageError, match="Permission denied"):
            write_folder(tmp_path / "new" / "folder", {"a": "b"})
    finally:
        tmp_path.chmod(0o700)
