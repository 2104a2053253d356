"""Jobs of several ranks: what is asked for and launched, and that all ranks are watched and ended with their job."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from materia.compute import LAUNCH, ComputeSettings, JobManager, LocalBackend, Retries, Site, SlurmBackend, open_backend
from materia.compute._backend import Task, Ticket
from materia.compute._mpi import Mpi, misfit
from materia.compute._slurm_script import allocation, sbatch_options, shape_of, short, task_files
from materia.compute.launcher import cpu_s, marked, memory_mb
from materia.compute.testing import drive, make_job, open_ledger, runs
from materia.errors import ConfigError
from materia.files import write_folder
from materia.record import JobSpec, OutcomeKind, Resources, to_json

FOUR = Resources(cores=8, memory_mb=900, walltime_s=100, ranks=4)


def site(**entries: object) -> Site:
    return Site.model_validate({"name": "here", "walltime_margin_s": 60, "memory_margin_mb": 100, **entries})


def test_requests_of_before_there_were_ranks_still_load() -> None:
    assert Resources(**json.loads('{"cores": 2, "memory_mb": 100, "walltime_s": 60}')).ranks == 1
    assert Resources(**json.loads(json.dumps(to_json(FOUR)))) == FOUR


def test_ranks_become_tasks_of_one_node(tmp_path: Path) -> None:
    tickets = [Ticket(f"job{n}", 1, tmp_path / "jobs" / f"job{n}" / "1", FOUR, "mt-1", n) for n in range(2)]
    jobs = Task("mt-1", tmp_path / "tasks" / "mt-1", tuple(tickets))
    profile = site(pilots={"below_s": 600})
    write_folder(jobs.folder, task_files(profile, jobs))
    options = set(sbatch_options(profile, jobs))
    assert {"--array=0-1", "--nodes=1", "--ntasks=4", "--cpus-per-task=2", "--mem=1000M"} <= options


def test_pilots_leave_ranks_alone() -> None:
    profile = site(pilots={"below_s": 600})
    assert short(profile, Resources(walltime_s=100))
    assert not short(profile, FOUR)
    assert shape_of(profile, [FOUR] * 9).slots == 0


def test_cores_raised_for_memory_stay_the_same_for_each_rank() -> None:
    profile = site(memory_per_core_mb=100, request_memory=False)
    assert allocation(profile, [FOUR]) == {"cores": 12, "memory_mb": 1200}  # 1000 MB are 10 cores, of 4 ranks


def test_an_array_has_one_number_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("materia.compute._slurm_client.shutil.which", lambda name: "/bin/true")
    backend = SlurmBackend(site(node={"cores": 8}))
    asked = [Resources(8, 900, 100), FOUR, FOUR]
    assert backend.plan(asked, []) == [[0], [1, 2]]
    assert backend.command(("python", "-m", "x"), asked[0])[1:] == ["-m", "x"]
    assert backend.command(("python", "-m", "x"), FOUR)[:4] == [
        "srun",
        "--kill-on-bad-exit=1",
        "--ntasks=4",
        "--cpus-per-task=2",
    ]
    assert "9 cores" in backend.refusal(Resources(9, 100, 60, 9))
    assert "3 cores for 2 ranks" in backend.refusal(Resources(3, 100, 60, 2))


def test_what_launches_ranks_is_checked_where_it_is_written() -> None:
    assert misfit(FOUR) == ""
    assert Mpi(launch=("mpiexec", "-n", "{ranks}")).command(["x"], FOUR) == ["mpiexec", "-n", "4", "x"]
    with pytest.raises(ValueError, match=r"\{cores\}"):
        Mpi(launch=("srun", "-c{cores}"))


def test_a_program_may_take_the_launcher_as_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python stays alone and starts the ranks of another program."""
    monkeypatch.setattr("materia.compute._slurm_client.shutil.which", lambda name: "/bin/true")
    argv, alone = ("python", "x.py", LAUNCH, "end"), Resources(1, 900, 100)
    slurm, local = SlurmBackend(site(mpi={"launch": ["srun", "-n{ranks}"]})), LocalBackend(cores=8)
    assert slurm.command(argv, FOUR)[1:] == ["x.py", "srun", "-n4", "end"]
    for backend in (slurm, local):
        assert backend.command(argv, alone)[1:] == backend.command(argv)[1:] == ["x.py", "end"]


def test_locally_ranks_need_a_launcher() -> None:
    with pytest.raises(ConfigError, match=r"compute\.ranks is 2"):
        open_backend(ComputeSettings(ranks=2))
    assert "does not say what starts them" in LocalBackend(cores=8).refusal(FOUR)
    backend = open_backend(ComputeSettings(ranks=2, cores=8, mpi=Mpi(launch=("mpiexec", "-n", "{ranks}"))))
    assert backend.refusal(FOUR) == ""


# Starts the program the way Slurm does: as a child of something else than what the launcher started.
ASIDE = "import subprocess, sys, time; subprocess.run(['setsid', '-f', *sys.argv[1:]]); time.sleep(60)"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are found in /proc")
def test_ranks_beside_the_launcher_are_measured_and_ended(tmp_path: Path) -> None:
    backend = LocalBackend(cores=2, mpi=Mpi(launch=(sys.executable, "-c", ASIDE)))
    manager = JobManager(open_ledger(tmp_path), backend, tmp_path, retries=Retries(out_of_memory=0))
    asked = Resources(cores=2, memory_mb=200, walltime_s=120, ranks=2)
    manager.ledger.add(make_job(tmp_path, "big", "memory", megabytes=300, resources=asked))
    outcome = drive(manager)["big"]
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY, outcome
    used = outcome.provenance["compute"]
    # The launcher alone is a tenth of it. How far the rank had come when it was seen is a matter of the machine.
    assert used["max_rss_mb"] > asked.memory_mb
    assert outcome.wall_s < 60  # the launcher sleeps as long: it was ended, not waited for
    assert marked(f"MATERIA_ATTEMPT_FOLDER={tmp_path / outcome.folder}") == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_a_process_is_counted_once(tmp_path: Path) -> None:
    me = os.getpid()
    assert memory_mb(me, me) == pytest.approx(memory_mb(me), rel=0.2)
    assert 0 < cpu_s(me) == pytest.approx(time.process_time(), abs=1.0)


# ------------------------------------------------------------------ under a real srun


@pytest.fixture
def two_ranks(slurm_site: Site, tmp_path: Path) -> JobManager:
    retries = Retries(crashes=0, out_of_memory=0)
    backend = SlurmBackend(Site.load("dev", {"options": [], "settle_s": 2, "poll_interval_s": 0.3}))
    return JobManager(open_ledger(tmp_path), backend, tmp_path, retries=retries)


def _as_rank_0(job: JobSpec, others: str) -> JobSpec:
    """Rank 0 runs the program of the job, the others a shell line."""
    line = f"echo $SLURM_PROCID $SLURM_NTASKS $OMP_NUM_THREADS >>ranks; [ $SLURM_PROCID = 0 ] || {others}; exec "
    return JobSpec(job.key, ("sh", "-c", f"{line}'{sys.executable}' '{job.argv[1]}'"), job.payload, {}, job.resources)


ASKED = Resources(cores=4, memory_mb=300, walltime_s=120, ranks=2)


@pytest.mark.slurm
def test_srun_starts_every_rank_in_the_folder(two_ranks: JobManager, tmp_path: Path) -> None:
    two_ranks.ledger.add(_as_rank_0(make_job(tmp_path, "a", number=4, resources=ASKED), "exit 0"))
    outcome = drive(two_ranks)["a"]
    assert (outcome.kind, outcome.values["square"], outcome.values["threads"]) == (OutcomeKind.COMPLETED, 16, "2")
    assert sorted((tmp_path / outcome.folder / "ranks").read_text().splitlines()) == ["0 2 2", "1 2 2"]
    assert runs(tmp_path) == {"a": 1}
    assert outcome.provenance["compute"]["granted"]["cores"] == 4


@pytest.mark.slurm
def test_a_rank_that_fails_ends_the_others(two_ranks: JobManager, tmp_path: Path) -> None:
    two_ranks.ledger.add(_as_rank_0(make_job(tmp_path, "a", "hang", resources=ASKED), "{ sleep 1; exit 7; }"))
    outcome = drive(two_ranks)["a"]
    assert outcome.kind is OutcomeKind.CRASHED, outcome
    assert outcome.wall_s < 60


@pytest.mark.slurm
def test_memory_of_ranks_counts(two_ranks: JobManager, tmp_path: Path) -> None:
    job = make_job(tmp_path, "a", "memory", megabytes=360, resources=ASKED)
    two_ranks.ledger.add(_as_rank_0(job, "exit 0"))
    outcome = drive(two_ranks)["a"]
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY, outcome


@pytest.mark.slurm
def test_ranks_past_their_walltime_are_ended(two_ranks: JobManager, tmp_path: Path) -> None:
    two_ranks.retries = Retries(timeouts=0)
    asked = Resources(cores=2, memory_mb=300, walltime_s=3, ranks=2)
    two_ranks.ledger.add(_as_rank_0(make_job(tmp_path, "a", "hang", resources=asked), "sleep 600"))
    outcome = drive(two_ranks)["a"]
    assert (outcome.kind, outcome.reason) == (OutcomeKind.TIMEOUT, "walltime")
    assert marked(f"MATERIA_ATTEMPT_FOLDER={tmp_path / outcome.folder}") == []
