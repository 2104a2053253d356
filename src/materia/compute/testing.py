"""The conformance test of backends: inherit :class:`BackendConformance` and give it your settings.

    class TestMine(BackendConformance):
        @pytest.fixture
        def settings(self) -> ComputeSettings:
            return ComputeSettings(backend="mine")

Needs pytest. The jobs are real processes; the driver that is killed is a real one too
(``python -m materia.compute.testing FOLDER``).
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from materia.compute import _testjob
from materia.compute._attempt import claimed
from materia.compute._ledger import Ledger
from materia.compute._lock import DriverLock
from materia.compute._manager import JobManager
from materia.compute._mpi import LAUNCH
from materia.compute._settings import ComputeSettings, open_backend
from materia.record import JobSpec, Outcome, OutcomeKind, Resources

PROGRAM = str(Path(_testjob.__file__))


def make_job(
    root: Path,
    key: str,
    behaviour: str | list[str] = "complete",
    *,
    resources: Resources | None = None,
    **payload: Any,
) -> JobSpec:
    """A job that notes every start and end in ``root/counter`` and then behaves as told."""
    return JobSpec(
        key=key,
        argv=("python", PROGRAM),
        payload={"behaviour": behaviour, "counter": str(root / "counter"), **payload},
        resources=resources or Resources(cores=1, memory_mb=200, walltime_s=60),
        name=f"test/{key}",
    )


def runs(root: Path, event: str = "start") -> Counter[str]:
    """How often each key was started (or came to its end)."""
    path = root / "counter"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(line.split()[1] for line in lines if line.startswith(event))


def open_ledger(root: Path) -> Ledger:
    """A ledger in ``root/campaign.sqlite``, opened as a campaign opens it."""
    connection = sqlite3.connect(root / "campaign.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA synchronous=FULL")
    ledger = Ledger(connection)
    ledger.create_tables()
    return ledger


def drive(manager: JobManager, timeout_s: float = 60.0) -> dict[str, Outcome]:
    """Tick until every job has its outcome; the outcomes by key."""
    deadline = time.monotonic() + timeout_s
    while manager.active:
        if time.monotonic() > deadline:
            raise TimeoutError(f"unfinished after {timeout_s} s: {manager.ledger.counts()} {manager.trouble}")
        manager.advance()
        time.sleep(0.05)
    return {job.key: job.outcome for job in manager.ledger.jobs() if job.outcome is not None}


def write_driver(root: Path, settings: ComputeSettings, jobs: Iterable[JobSpec]) -> None:
    """Make a folder ready for :func:`start_driver`: settings beside the ledger, the jobs in it."""
    (root / "driver.json").write_text(settings.model_dump_json())
    ledger = open_ledger(root)
    for job in jobs:
        ledger.add(job)


def start_driver(root: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A driver in a process of its own, to be killed."""
    with (root / "driver.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "materia.compute.testing", str(root)], stdout=log, stderr=log, env=env
        )


class BackendConformance:
    """What every backend must do. Fixture ``settings`` names the backend; ``timeout_s`` bounds each test."""

    timeout_s = 60.0
    short = Resources(cores=1, memory_mb=200, walltime_s=2)

    @pytest.fixture
    def settings(self) -> ComputeSettings:
        raise NotImplementedError("give a fixture 'settings' that names your backend")

    @pytest.fixture
    def manager(self, settings: ComputeSettings, tmp_path: Path) -> JobManager:
        return JobManager(open_ledger(tmp_path), open_backend(settings), tmp_path, retries=settings.retries)

    def test_the_place_of_a_launcher_is_filled(self, manager: JobManager) -> None:
        """A program that starts the ranks of another one is given the launcher's words there, or none."""
        command = manager.backend.command(("python", "program.py", LAUNCH), self.short)
        assert command[-1] == "program.py"

    def test_every_ending(self, manager: JobManager, tmp_path: Path) -> None:
        """Success, failed science, crash, abort, no result, hang: each has its outcome, the others go on."""
        for number in range(3):
            manager.ledger.add(make_job(tmp_path, f"good{number}", number=number))
        for behaviour in ("fail", "crash", "abort", "silent", "foreign", "truncated"):
            manager.ledger.add(make_job(tmp_path, behaviour, behaviour))
        manager.ledger.add(make_job(tmp_path, "hang", "hang", resources=self.short))
        outcomes = drive(manager, self.timeout_s)
        for number in range(3):
            assert outcomes[f"good{number}"].kind is OutcomeKind.COMPLETED
            assert outcomes[f"good{number}"].values["square"] == number**2
            assert outcomes[f"good{number}"].values["threads"] == "1"
        failed = outcomes["fail"]
        assert (failed.kind, failed.reason, failed.retryable) == (OutcomeKind.FAILED, "not_converged", False)
        assert (outcomes["crash"].kind, outcomes["crash"].reason) == (OutcomeKind.CRASHED, "exit_3")
        assert "this program has a bug" in outcomes["crash"].message
        assert (outcomes["abort"].kind, outcomes["abort"].reason) == (OutcomeKind.CRASHED, "signal_SIGABRT")
        assert (outcomes["silent"].kind, outcomes["silent"].reason) == (OutcomeKind.CRASHED, "no_result")
        assert outcomes["foreign"].reason == outcomes["truncated"].reason == "invalid_result"
        assert outcomes["hang"].kind is OutcomeKind.TIMEOUT
        assert outcomes["hang"].wall_s > 1.5
        retries = manager.retries
        expected = {f"good{n}": 1 for n in range(3)} | {"fail": 1, "hang": 1 + retries.timeouts}
        expected |= dict.fromkeys(("crash", "abort", "silent", "foreign", "truncated"), 1 + retries.crashes)
        assert runs(tmp_path) == expected

    def test_another_attempt_can_succeed(self, manager: JobManager, tmp_path: Path) -> None:
        manager.ledger.add(make_job(tmp_path, "second-time", ["crash", "complete"], number=5))
        outcome = drive(manager, self.timeout_s)["second-time"]
        assert (outcome.kind, outcome.attempt, outcome.values["square"]) == (OutcomeKind.COMPLETED, 2, 25)

    def test_out_of_memory_asks_for_more(self, manager: JobManager, tmp_path: Path) -> None:
        asked = Resources(cores=1, memory_mb=100, walltime_s=60)
        behaviour = ["memory", "complete"]
        manager.ledger.add(make_job(tmp_path, "hungry", behaviour, resources=asked, megabytes=300))
        outcome = drive(manager, self.timeout_s)["hungry"]
        assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 2)
        assert outcome.provenance["compute"]["asked"]["memory_mb"] == 200
        first = manager.ledger.endings("hungry")
        assert first[OutcomeKind.OUT_OF_MEMORY] == 1

    def test_says_what_a_job_is_allocated(self, manager: JobManager, tmp_path: Path) -> None:
        asked = Resources(cores=1, memory_mb=150, walltime_s=60)
        manager.ledger.add(make_job(tmp_path, "a", resources=asked))
        used = drive(manager, self.timeout_s)["a"].provenance["compute"]
        assert used["place"] == manager.backend.node().name != ""
        assert used["granted"]["cores"] >= 1
        assert used["granted"]["memory_mb"] >= 150

    def test_too_many_cores_are_refused(self, manager: JobManager, tmp_path: Path) -> None:
        asked = Resources(cores=1_000_000, memory_mb=100, walltime_s=60)
        manager.ledger.add(make_job(tmp_path, "huge", resources=asked))
        outcome = drive(manager, self.timeout_s)["huge"]
        assert (outcome.kind, outcome.retryable) == (OutcomeKind.REFUSED, False)
        assert "1000000 cores" in outcome.message
        assert runs(tmp_path) == {}

    def test_hostile_names_run_nothing(self, manager: JobManager, tmp_path: Path) -> None:
        root = tmp_path / "a b'c\"d $(touch PWNED) `touch PWNED`;\n%A\\"
        root.mkdir()
        inside = JobManager(open_ledger(root), manager.backend, root)
        spec = make_job(root, "named", number=2)
        hostile = "$(touch PWNED)'\"\n;touch PWNED" * 12
        inside.ledger.add(JobSpec(spec.key, spec.argv, spec.payload, {}, spec.resources, name=hostile))
        assert drive(inside, self.timeout_s)["named"].values["square"] == 4
        assert not list(tmp_path.rglob("PWNED"))

    def test_driver_killed_nothing_twice(self, settings: ComputeSettings, tmp_path: Path) -> None:
        """SIGKILL the driver while its jobs run, again and again; the last one finds everything."""
        keys = [f"job{number}" for number in range(6)]
        jobs = [make_job(tmp_path, key, seconds=0.7, number=index) for index, key in enumerate(keys)]
        write_driver(tmp_path, settings, jobs)
        for pause in (0.5, 1.0, 1.5, 0.8):
            driver = start_driver(tmp_path)
            time.sleep(pause)
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        driver = start_driver(tmp_path)
        assert driver.wait(timeout=self.timeout_s) == 0, (tmp_path / "driver.log").read_text()
        ledger = open_ledger(tmp_path)
        for index, key in enumerate(keys):
            outcome = ledger.outcome(key)
            assert outcome is not None
            assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 1)
            assert outcome.values["square"] == index**2
        assert runs(tmp_path) == dict.fromkeys(keys, 1)
        assert runs(tmp_path, "end") == dict.fromkeys(keys, 1)

    def test_driver_killed_under_a_running_job(self, settings: ComputeSettings, tmp_path: Path) -> None:
        """The job outlives its driver, and the next driver waits for it instead of starting another."""
        write_driver(tmp_path, settings, [make_job(tmp_path, "long", seconds=4.0)])
        driver = start_driver(tmp_path)
        deadline = time.monotonic() + self.timeout_s
        while not runs(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert claimed(tmp_path / "jobs" / "long" / "1") is not None
        manager = JobManager(open_ledger(tmp_path), open_backend(settings), tmp_path)
        assert drive(manager, self.timeout_s)["long"].kind is OutcomeKind.COMPLETED
        assert runs(tmp_path) == {"long": 1}

    def test_cancel(self, manager: JobManager, tmp_path: Path) -> None:
        manager.ledger.add(make_job(tmp_path, "unwanted", seconds=600))
        deadline = time.monotonic() + self.timeout_s
        while not runs(tmp_path) and time.monotonic() < deadline:
            manager.advance()
            time.sleep(0.05)
        (outcome,) = manager.cancel(["unwanted"], "vetoed")
        assert (outcome.kind, outcome.message) == (OutcomeKind.CANCELLED, "vetoed")
        assert not manager.active
        ending = tmp_path / "jobs" / "unwanted" / "1" / "exit.json"
        while not ending.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert json.loads(ending.read_text())["status"] == "terminated"
        assert runs(tmp_path, "end") == {}


def run_driver(root: Path) -> None:
    """What a driver process does: hold the lock, tick until every job has its outcome."""
    settings = ComputeSettings.model_validate_json((root / "driver.json").read_text())
    with DriverLock(root):
        manager = JobManager(open_ledger(root), open_backend(settings), root, retries=settings.retries)
        drive(manager, timeout_s=600.0)


if __name__ == "__main__":
    run_driver(Path(sys.argv[1]))
