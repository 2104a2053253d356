"""The local backend: the conformance tests, and what is particular to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from materia.compute import ComputeSettings, JobManager, JobState, LocalBackend, Retries, open_backend
from materia.compute.launcher import process_identity
from materia.compute.testing import BackendConformance, drive, make_job, open_ledger, runs, write_driver
from materia.errors import ConfigError
from materia.record import JobSpec, OutcomeKind, Resources

KILLER = Path(__file__).with_name("driver_killed_at_new_lines.py")


class TestLocalBackend(BackendConformance):
    @pytest.fixture
    def settings(self) -> ComputeSettings:
        return ComputeSettings(backend="local", cores=4, retries=Retries(timeouts=0))


@pytest.fixture
def manager(tmp_path: Path) -> JobManager:
    return JobManager(open_ledger(tmp_path), LocalBackend(cores=4), tmp_path)


def until(condition: Callable[[], object], manager: JobManager, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, manager.ledger.counts()
        manager.advance()
        time.sleep(0.02)


def _campaigns_killed_at(tmp_path: Path, stride: int) -> int:
    """Campaigns, each with drivers killed at new lines, until one ends without reaching any; number of kills."""
    record, kills, number, fresh_kill = tmp_path / "killed", 0, 0, True
    while fresh_kill:
        root, fresh_kill = tmp_path / f"campaign{number}", False
        root.mkdir()
        keys = {"a": "complete", "b": "complete", "c": "fail", "d": ["crash", "complete"]}
        jobs = [make_job(root, key, behaviour, seconds=0.05) for key, behaviour in keys.items()]
        write_driver(root, ComputeSettings(cores=2), jobs)
        while True:
            command = [sys.executable, str(KILLER), str(root), str(record), str(stride)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr
            kills, fresh_kill = kills + 1, True
        ledger = open_ledger(root)
        kinds = {key: ledger.outcome(key).kind for key in keys}
        assert kinds == {**dict.fromkeys("abd", OutcomeKind.COMPLETED), "c": OutcomeKind.FAILED}, number
        assert runs(root) == {"a": 1, "b": 1, "c": 1, "d": 2}, number
        number += 1
    return kills


def test_killed_at_lines_of_the_submit_path(tmp_path: Path) -> None:
    assert _campaigns_killed_at(tmp_path, stride=47) >= 4


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_killed_at_every_line_of_the_submit_path(tmp_path: Path) -> None:
    assert _campaigns_killed_at(tmp_path, stride=1) >= 200


def test_launcher_killed_is_a_crash_and_leaves_no_calculation(manager: JobManager, tmp_path: Path) -> None:
    manager.ledger.add(make_job(tmp_path, "a", ["hang", "complete"]))
    folder = tmp_path / "jobs" / "a" / "1"
    until(lambda: runs(tmp_path) and (folder / "running.json").exists(), manager)
    launcher = json.loads((folder / "claim.json").read_text())["pid"]
    child = json.loads((folder / "running.json").read_text())["pid"]
    os.kill(launcher, signal.SIGKILL)
    outcome = drive(manager)["a"]
    assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 2)
    assert manager.ledger.endings("a")[OutcomeKind.CRASHED] == 1
    assert process_identity(child) is None


def test_what_was_begun_is_finished_before_more_is_begun(tmp_path: Path) -> None:
    manager = JobManager(open_ledger(tmp_path), LocalBackend(cores=1), tmp_path)
    for key, stage in {"first": 0, "second": 0, "next_rung": 1}.items():
        manager.ledger.add(replace(make_job(tmp_path, key), stage=stage))
    assert all(outcome.ok for outcome in drive(manager).values())
    claims = {key: tmp_path / "jobs" / key / "1" / "claim.json" for key in ("first", "second", "next_rung")}
    started = {key: json.loads(path.read_text())["started"] for key, path in claims.items()}
    assert sorted(started, key=started.__getitem__) == ["next_rung", "first", "second"]


def test_children_of_a_job_end_with_it(manager: JobManager, tmp_path: Path) -> None:
    """A program that leaves processes behind does not leave them running."""
    job = make_job(tmp_path, "a")
    script = f"sleep 600 & echo $! > {tmp_path}/orphan; exec '{sys.executable}' {job.argv[1]}"
    manager.ledger.add(JobSpec("a", ("sh", "-c", script), job.payload, {}, job.resources, "a"))
    assert drive(manager)["a"].ok
    orphan = int((tmp_path / "orphan").read_text())
    state = Path(f"/proc/{orphan}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_result_of_a_hanging_program_counts(manager: JobManager, tmp_path: Path) -> None:
    """The result is published, then the program never ends: ended at the walltime, the result is kept."""
    job = make_job(tmp_path, "a", number=4, resources=Resources(walltime_s=4))
    script = f"'{sys.executable}' {job.argv[1]}; sleep 600"
    manager.ledger.add(JobSpec("a", ("sh", "-c", script), job.payload, {}, job.resources, "a"))
    outcome = drive(manager)["a"]
    assert (outcome.kind, outcome.values["square"]) == (OutcomeKind.COMPLETED, 16)
    assert 4.0 <= outcome.wall_s < 60.0


def test_cores_are_not_overbooked(tmp_path: Path) -> None:
    manager = JobManager(open_ledger(tmp_path), LocalBackend(cores=2), tmp_path)
    asked = Resources(cores=1, memory_mb=200, walltime_s=60)
    wide = Resources(cores=2, memory_mb=200, walltime_s=60)
    for number in range(3):
        manager.ledger.add(make_job(tmp_path, f"narrow{number}", seconds=0.3, resources=asked))
    manager.ledger.add(make_job(tmp_path, "wide", seconds=0.2, resources=wide))
    busiest = 0
    while manager.active:
        manager.advance()
        tickets = manager.ledger.tickets(tmp_path)
        busiest = max(busiest, sum(ticket.resources.cores for ticket in tickets))
        time.sleep(0.02)
    assert busiest == 2
    assert manager.ledger.outcome("wide").values["threads"] == "2"


def test_memory_is_not_overbooked() -> None:
    backend = LocalBackend(cores=8, memory_mb=1000)
    asked = Resources(cores=1, memory_mb=400)
    assert backend.plan([asked] * 4, []) == [[0], [1]]
    assert backend.plan([asked] * 4, [asked]) == [[0]]
    assert "1200 MB" in backend.refusal(Resources(memory_mb=1200))


def test_more_time_after_a_time_out(tmp_path: Path) -> None:
    retries = Retries(timeouts=2, growth=30.0)
    manager = JobManager(open_ledger(tmp_path), LocalBackend(cores=1), tmp_path, retries=retries)
    manager.ledger.add(make_job(tmp_path, "slow", seconds=2.0, resources=Resources(walltime_s=1)))
    outcome = drive(manager)["slow"]
    assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 2)
    assert outcome.provenance["compute"]["asked"]["walltime_s"] == 30


def test_program_that_is_not_there(manager: JobManager, tmp_path: Path) -> None:
    job = make_job(tmp_path, "a")
    manager.ledger.add(JobSpec("a", ("no-such-program",), job.payload, {}, job.resources, "a"))
    outcome = drive(manager)["a"]
    assert (outcome.kind, outcome.reason, outcome.attempt) == (OutcomeKind.CRASHED, "not_started", 1)
    assert "no-such-program" in outcome.message


def test_job_of_another_host_is_waited_for(manager: JobManager, tmp_path: Path) -> None:
    """Its process cannot be seen from here: not dead, not run again, its result is taken when it comes."""
    manager.ledger.add(make_job(tmp_path, "a", "hang"))
    folder = tmp_path / "jobs" / "a" / "1"
    until(lambda: (folder / "running.json").exists() and manager.ledger.job("a").state is JobState.RUNNING, manager)
    claim = json.loads((folder / "claim.json").read_text())
    (folder / "claim.json").write_text(json.dumps({**claim, "host": "login2"}))
    os.kill(claim["pid"], signal.SIGKILL)
    for _ in range(5):
        assert manager.advance() == []
    assert manager.ledger.job("a").state is JobState.RUNNING
    long_ago = {**claim, "host": "login2", "started": claim["started"] - 10_000}
    (folder / "claim.json").write_text(json.dumps(long_ago))
    manager.advance()
    assert manager.ledger.endings("a")[OutcomeKind.CRASHED] == 1
    manager.cancel(["a"], "enough")


def test_unknown_backend_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no backend 'lokal' \(installed: .*local.*slurm"):
        open_backend(ComputeSettings(backend="lokal"))


def test_no_cores() -> None:
    with pytest.raises(ConfigError, match="at least one core"):
        LocalBackend(cores=0)
