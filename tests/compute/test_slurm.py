"""The Slurm backend on a real Slurm: the conformance tests, and what only Slurm can do to a job."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from materia.compute import ComputeSettings, JobManager, Retries, Site, SlurmBackend
from materia.compute.testing import (
    BackendConformance,
    drive,
    make_job,
    open_ledger,
    runs,
    start_driver,
    write_driver,
)
from materia.errors import SchedulerError
from materia.record import OutcomeKind, Resources
from materia.resources import resource

pytestmark = pytest.mark.slurm
FREE = {"options": [], "settle_s": 2, "poll_interval_s": 0.3}  # sleeping jobs: more at once than real cores


class TestSlurmBackend(BackendConformance):
    timeout_s = 90.0

    @pytest.fixture
    def settings(self, slurm_site: Site) -> ComputeSettings:
        return ComputeSettings(backend="slurm", site="dev", overrides=FREE, retries=Retries(timeouts=0))


@pytest.fixture
def manager_for(slurm_site: Site, tmp_path: Path) -> Callable[..., JobManager]:
    def build(**changes: object) -> JobManager:
        site = Site.load("dev", {**FREE, **changes})
        return JobManager(open_ledger(tmp_path), SlurmBackend(site), tmp_path)

    return build


def until(condition: Callable[[], object], manager: JobManager, timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, (manager.ledger.counts(), manager.trouble)
        manager.advance()
        time.sleep(0.1)


def cluster(*arguments: str) -> None:
    subprocess.run([resource("slurm/dev-cluster.sh"), *arguments], check=True, capture_output=True, timeout=60)


def cluster_folder() -> Path:
    return Path(os.environ["SLURM_CONF"]).parents[1]


def slurm(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout


def accounted(tmp_path: Path) -> list[str]:
    """States, by accounting, of every array member of every task of this campaign."""
    tokens = ",".join(path.name for path in (tmp_path / "tasks").iterdir())
    deadline = time.monotonic() + 30
    while True:  # it lags behind the controller
        states = slurm("sacct", "-n", "-X", "-P", "-S", "now-1hour", f"--name={tokens}", "-o", "State").split()
        if (states and not {"RUNNING", "PENDING"} & set(states)) or time.monotonic() > deadline:
            return states
        time.sleep(0.5)


def test_killed_between_sbatch_and_its_id(slurm_site: Site, tmp_path: Path) -> None:
    """sbatch submits, and the driver is dead before it can read the id: the next one finds the job by its name."""
    real = shutil.which("sbatch")
    shim = tmp_path / "shim" / "sbatch"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\n{real} \"$@\" >/dev/null\necho x >>'{tmp_path}/calls'\nkill -9 $PPID\n")
    shim.chmod(0o755)
    settings = ComputeSettings(backend="slurm", site="dev", overrides=FREE)
    keys = ["a", "b", "c"]
    write_driver(tmp_path, settings, [make_job(tmp_path, key, seconds=0.5) for key in keys])
    driver = start_driver(tmp_path, {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"})
    assert driver.wait(timeout=30) == -9
    ledger = open_ledger(tmp_path)
    (doubtful,) = ledger.tasks_in_doubt(tmp_path)
    assert len(doubtful.members) == 3
    manager = JobManager(ledger, SlurmBackend(Site.load("dev", FREE)), tmp_path)
    outcomes = drive(manager)
    assert {o.kind for o in outcomes.values()} == {OutcomeKind.COMPLETED}
    assert runs(tmp_path) == dict.fromkeys(keys, 1)
    assert (tmp_path / "calls").read_text() == "x\n"
    assert accounted(tmp_path) == ["COMPLETED"] * 3


def test_killed_before_sbatch(slurm_site: Site, tmp_path: Path) -> None:
    """The intent is written and nothing was submitted: known only when queue and accounting both say so."""
    shim = tmp_path / "shim" / "sbatch"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nkill -9 $PPID\n")
    shim.chmod(0o755)
    settings = ComputeSettings(backend="slurm", site="dev", overrides=FREE)
    write_driver(tmp_path, settings, [make_job(tmp_path, "a")])
    driver = start_driver(tmp_path, {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"})
    assert driver.wait(timeout=30) == -9
    manager = JobManager(open_ledger(tmp_path), SlurmBackend(Site.load("dev", FREE)), tmp_path)
    assert drive(manager)["a"].ok
    assert runs(tmp_path) == {"a": 1}


def test_unknown_qos_is_said_in_sbatch_s_words(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    manager = manager_for(qos="gp_imaginary")
    manager.ledger.add(make_job(tmp_path, "a"))
    with pytest.raises(SchedulerError, match="Invalid qos specification"):
        manager.advance()
    assert drive(manager_for())["a"].attempt == 1  # corrected, it goes on with the same attempt
    assert runs(tmp_path) == {"a": 1}


def test_unknown_account(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    manager = manager_for(account="nobody")
    manager.ledger.add(make_job(tmp_path, "a"))
    with pytest.raises(SchedulerError, match="Invalid account or account/partition combination"):
        manager.advance()


def test_refused_here_before_slurm_lets_it_pend_for_ever(
    manager_for: Callable[..., JobManager], tmp_path: Path
) -> None:
    manager = manager_for()
    manager.ledger.add(make_job(tmp_path, "a", resources=Resources(walltime_s=8000)))
    (outcome,) = manager.advance()
    assert outcome.kind is OutcomeKind.REFUSED
    assert "8000 s of walltime" in outcome.message
    assert "gp_debug" in outcome.message
    assert not (tmp_path / "tasks").exists()


def test_never_startable_is_found_out_from_the_queue(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """A profile that does not know the limit: Slurm accepts the job, says why it pends, and it is taken back."""
    manager = manager_for(qos_limits={})
    manager.ledger.add(make_job(tmp_path, "a", resources=Resources(walltime_s=8000, memory_mb=200)))
    outcome = drive(manager)["a"]
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "QOSMaxWallDurationPerJobLimit")
    token = next((tmp_path / "tasks").iterdir()).name
    assert slurm("squeue", "-h", "-t", "pending,running", f"--name={token}") == ""
    assert runs(tmp_path) == {}


def test_cancelled_by_a_person(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    manager = manager_for()
    manager.ledger.add(make_job(tmp_path, "a", seconds=300))
    manager.ledger.add(make_job(tmp_path, "b", seconds=4))
    until(lambda: len(runs(tmp_path)) == 2, manager)
    ticket = next(t for t in manager.ledger.tickets(tmp_path) if t.key == "a")
    slurm("scancel", f"{ticket.handle}_{ticket.slot}")
    outcomes = drive(manager)
    assert (outcomes["a"].kind, outcomes["b"].kind) == (OutcomeKind.CANCELLED, OutcomeKind.COMPLETED)
    assert "CANCELLED" in outcomes["a"].message
    assert runs(tmp_path) == {"a": 1, "b": 1}


def test_controller_down_is_unknown_and_then_recovers(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    manager = manager_for(command_timeout_s=3)
    manager.ledger.add(make_job(tmp_path, "before", seconds=2))
    until(lambda: runs(tmp_path), manager)
    cluster("stop-ctld")  # killed within seconds of a submission it forgets the job and gives its id to another
    try:
        manager.ledger.add(make_job(tmp_path, "during"))
        manager.advance()  # submits into the void, and cannot ask either
        assert manager.trouble
        until(lambda: manager.ledger.outcome("before"), manager)  # from its folder: nobody has to be asked
        assert manager.ledger.outcome("during") is None
    finally:
        cluster("start-ctld")
    outcomes = drive(manager)
    assert {o.kind for o in outcomes.values()} == {OutcomeKind.COMPLETED}
    assert {o.attempt for o in outcomes.values()} == {1}
    assert runs(tmp_path) == {"before": 1, "during": 1}
    assert manager.trouble == ""


@pytest.fixture
def forgetful_controller(slurm_site: Site, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Called after submissions: the controller dies and comes back as it was when the test began."""
    state, saved = cluster_folder() / "state" / "ctld", tmp_path / "saved"
    time.sleep(6)  # it saves every five seconds
    shutil.copytree(state, saved)

    def forget() -> None:
        cluster("kill-ctld")
        try:
            shutil.rmtree(state)
            shutil.copytree(saved, state)
        finally:
            cluster("start-ctld")

    yield forget
    cluster("up")  # the node drains over a number it knows


def test_forgotten_and_its_number_given_to_another(
    manager_for: Callable[..., JobManager], forgetful_controller: Callable[[], None], tmp_path: Path
) -> None:
    """The node knows the number, starts no second job of it and has it cancelled, the whole array: no person did."""
    manager = manager_for()
    manager.ledger.add(make_job(tmp_path, "forgotten", seconds=1))
    until(lambda: runs(tmp_path), manager)
    (first,) = manager.ledger.tickets(tmp_path)
    forgetful_controller()
    keys = ["a", "b", "c"]
    for key in keys:
        manager.ledger.add(make_job(tmp_path, key, seconds=2))
    outcomes = drive(manager)
    names = slurm("sacct", "-n", "-X", "-P", "-D", "-j", first.handle, "-o", "JobName").split()
    assert len(set(names)) == 2  # both had that number
    assert {o.kind for o in outcomes.values()} == {OutcomeKind.COMPLETED}
    kinds = [sorted(a.kind for a in manager.ledger.attempts()[key]) for key in keys]
    # a member of another number may be done before the cancellation reaches it, on a busy machine
    assert ["completed", "node_failure"] in kinds
    assert all(kind in (["completed"], ["completed", "node_failure"]) for kind in kinds)
    assert runs(tmp_path, "end") == dict.fromkeys(["forgotten", *keys], 1)


def test_forgotten_while_it_runs(
    manager_for: Callable[..., JobManager], forgetful_controller: Callable[[], None], tmp_path: Path
) -> None:
    """The node is told to end what the controller does not know; accounting says RUNNING for ever."""
    manager = manager_for()
    manager.ledger.add(make_job(tmp_path, "a", seconds=600, number=3))
    until(lambda: runs(tmp_path), manager)
    forgetful_controller()
    until(lambda: manager.ledger.endings("a"), manager, 60)
    assert manager.ledger.endings("a") == {OutcomeKind.NODE_FAILURE: 1}
    until(lambda: runs(tmp_path) == {"a": 2}, manager)
    manager.cancel(["a"], "enough")


def test_cancel_leaves_another_s_job_alone(slurm_site: Site) -> None:
    """The number in the ledger may have become another job's."""
    ask = [
        "sbatch",
        "--parsable",
        "-A",
        "ehpc01",
        "-q",
        "gp_debug",
        "-p",
        "gpp",
        "--mem=50M",
        "-t",
        "2",
        "-o",
        "/dev/null",
    ]
    job = slurm(*ask, "-J", "mine", "--array=0", "--wrap", "sleep 60").strip()
    client = SlurmBackend(Site.load("dev", FREE)).client
    client.scancel("mt-another", [f"{job}_0", "999999_0"])
    assert client.trouble == ""
    assert slurm("squeue", "-h", "-t", "pending,running", "-j", job)
    client.scancel("mine", ["999999_0", f"{job}_0"])
    time.sleep(1)
    assert not slurm("squeue", "-h", "-t", "pending,running", "-j", job)


def test_cancelled_by_a_person_before_it_started(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """Such members have no line of their own in the queue, and accounting tells of them by the id alone."""
    manager = manager_for(array_throttle=1)
    for key in "abc":
        manager.ledger.add(make_job(tmp_path, key, seconds=300))
    until(lambda: runs(tmp_path), manager)
    slurm("scancel", manager.ledger.tickets(tmp_path)[0].handle)
    outcomes = drive(manager)
    assert {(o.kind, o.attempt) for o in outcomes.values()} == {(OutcomeKind.CANCELLED, 1)}
    assert runs(tmp_path).total() == 1
    assert len(list((tmp_path / "tasks").iterdir())) == 1


def test_node_fails_under_a_job(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """The node is gone: another attempt computes it; what the first may still write is not believed."""
    manager = manager_for()
    manager.ledger.add(make_job(tmp_path, "a", seconds=3600, number=3))
    until(lambda: runs(tmp_path), manager)
    (ticket,) = manager.ledger.tickets(tmp_path)
    node = slurm("squeue", "-h", "-j", ticket.handle, "-o", "%N").strip()
    cluster("stop-node", node)
    try:
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")  # or 20 s of waiting
        until(lambda: manager.ledger.endings("a")[OutcomeKind.NODE_FAILURE] == 1, manager)
    finally:
        cluster("start-node", node)
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    until(lambda: runs(tmp_path) == {"a": 2}, manager)
    manager.cancel(["a"], "enough")


def test_preempted(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """A job gives way to one of a better QoS: another attempt, and no retry of a crash is spent."""
    node = "--nodelist=gs01r1b01"
    manager = manager_for(qos="gp_preempt", options=[node])
    manager.ledger.add(make_job(tmp_path, "a", seconds=4, resources=Resources(cores=112, memory_mb=500)))
    until(lambda: runs(tmp_path), manager)
    asks = ["sbatch", "--parsable", "-A", "ehpc01", "-q", "gp_ehpc", "-p", "gpp", node, "-c", "112", "--mem=500M"]
    slurm(*asks, "-t", "2", "-o", "/dev/null", "--wrap", "sleep 1")
    until(lambda: manager.ledger.endings("a"), manager)
    assert manager.ledger.endings("a") == {OutcomeKind.NODE_FAILURE: 1}
    outcome = drive(manager)["a"]
    assert sorted(accounted(tmp_path)) == ["COMPLETED", "PREEMPTED"]
    assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 2)
    assert runs(tmp_path, "end") == {"a": 1}


@pytest.mark.slow
def test_requeued_while_the_old_process_lives(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """Slurm loses sight of a node and requeues: the copy leaves at once, the process that lives is waited for."""
    manager = manager_for(options=["--requeue"])
    manager.ledger.add(make_job(tmp_path, "a", seconds=25, number=4, resources=Resources(memory_mb=200)))
    until(lambda: runs(tmp_path), manager)
    (ticket,) = manager.ledger.tickets(tmp_path)
    node = slurm("squeue", "-h", "-j", ticket.handle, "-o", "%N").strip()
    daemon = Path(cluster_folder(), "run", f"node-{node}.pid")
    os.kill(int(daemon.read_text()), 9)  # the daemon alone: its steps live on
    try:
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        hurry = ["scontrol", "update", f"jobid={ticket.handle}", "starttime=now"]  # Slurm would wait two minutes
        deadline = time.monotonic() + 20
        while not (ticket.folder / "turned-away").exists() and time.monotonic() < deadline:
            subprocess.run(hurry, check=False, capture_output=True)
            time.sleep(0.5)
        assert (ticket.folder / "turned-away").exists()
        outcome = drive(manager, 60)["a"]
    finally:
        cluster("start-node", node)
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    assert (outcome.kind, outcome.attempt, outcome.values["square"]) == (OutcomeKind.COMPLETED, 1, 16)
    assert runs(tmp_path) == runs(tmp_path, "end") == {"a": 1}
    assert len(list(tmp_path.glob("jobs/a/*/result.json"))) == 1
    slurm("scancel", ticket.handle)


def test_requeued_by_a_person(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """The old process was ended: its copy in the queue would find the folder claimed; another attempt computes."""
    manager = manager_for(options=["--requeue"])
    manager.ledger.add(make_job(tmp_path, "a", seconds=5, resources=Resources(memory_mb=200)))
    until(lambda: runs(tmp_path), manager)
    (ticket,) = manager.ledger.tickets(tmp_path)
    slurm("scontrol", "requeue", ticket.handle)
    until(lambda: manager.ledger.endings("a"), manager)
    outcome = drive(manager)["a"]
    slurm("scancel", ticket.handle)
    assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 2)
    assert runs(tmp_path, "end") == {"a": 1}


@pytest.mark.slow
def test_slurm_s_own_time_limit(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """Someone cut the limit of a running job: Slurm ends it, the next attempt asks for more time."""
    manager = manager_for()
    manager.ledger.add(make_job(tmp_path, "a", ["hang", "complete"], resources=Resources(walltime_s=600)))
    until(lambda: runs(tmp_path), manager)
    (ticket,) = manager.ledger.tickets(tmp_path)
    slurm("scontrol", "update", f"jobid={ticket.handle}_0", "timelimit=1")
    outcome = drive(manager, 180)["a"]
    assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 2)
    assert manager.ledger.endings("a") == {OutcomeKind.TIMEOUT: 1, OutcomeKind.COMPLETED: 1}
    assert outcome.provenance["compute"]["asked"]["walltime_s"] == 1200


@pytest.mark.slow
def test_pilot_starts_no_job_that_does_not_fit(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """Four jobs of up to 40 s, pilots of 60 s: each pilot runs two, no attempt is spent on the clock."""
    pilots = {"below_s": 60, "count": 1, "slots": 1, "walltime_s": 60}
    manager = manager_for(pilots=pilots, walltime_margin_s=0)
    for number in range(4):
        asked = Resources(memory_mb=200, walltime_s=40)
        manager.ledger.add(make_job(tmp_path, f"job{number}", seconds=10, resources=asked))
    outcomes = drive(manager, 180)
    assert {(o.kind, o.attempt) for o in outcomes.values()} == {(OutcomeKind.COMPLETED, 1)}
    assert len(list((tmp_path / "tasks").iterdir())) == 2
    assert runs(tmp_path) == runs(tmp_path, "end") == {f"job{number}": 1 for number in range(4)}


def test_kernel_kills_for_memory(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    """Faster than the launcher looks: the cgroup's limit ends it, and Slurm says so."""
    manager = manager_for(memory_margin_mb=0)
    asked = Resources(memory_mb=120, walltime_s=60)
    behaviour = ["memory", "complete"]
    manager.ledger.add(make_job(tmp_path, "a", behaviour, resources=asked, megabytes=1500))
    outcome = drive(manager)["a"]
    assert (outcome.kind, outcome.attempt) == (OutcomeKind.COMPLETED, 2)
    assert manager.ledger.endings("a")[OutcomeKind.OUT_OF_MEMORY] == 1


def test_job_scripts_are_clean(manager_for: Callable[..., JobManager], tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    manager = manager_for(environment=["module() { :; }", "module load gcc"])
    manager.ledger.add(make_job(tmp_path, "a"))
    drive(manager)
    (script,) = tmp_path.glob("tasks/*/job.sh")
    subprocess.run(["shellcheck", script], check=True)


class TestSlurmBackendWithPilots(BackendConformance):
    """The same promises where short jobs share allocations."""

    timeout_s = 120.0

    @pytest.fixture
    def settings(self, slurm_site: Site) -> ComputeSettings:
        overrides = {**FREE, "pilots": {"below_s": 3600, "count": 2, "slots": 3, "walltime_s": 3600}}
        return ComputeSettings(backend="slurm", site="dev", overrides=overrides, retries=Retries(timeouts=0))
