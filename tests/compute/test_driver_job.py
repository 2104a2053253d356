"""The chain of driver jobs on a real Slurm, with a stand-in for the driver that fails as it is told."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from materia.compute import DriverJob, Site, driver_trouble
from materia.errors import SchedulerError

pytestmark = pytest.mark.slurm

# Ends in the way that the line of `plan` says whose number is the run's; with the last line ever after.
DRIVER = """#!/bin/bash
echo "$SLURM_JOB_ID" >>runs
way=$(sed -n "$(wc -l <runs)p" plan)
case ${way:-$(tail -n 1 plan)} in
finish) exit 0 ;;
fail) exit 1 ;;
kill) kill -9 $PPID; sleep 60 ;;
leave) sleep "$2"; exit 75 ;;
locked) exit 75 ;;
hang) sleep 600 ;;
esac
"""


def slurm(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def start(slurm_site: Site, tmp_path: Path) -> Iterator[Callable[..., DriverJob]]:
    chains = []

    def begin(*plan: str, **request: object) -> DriverJob:
        driver = {"memory_mb": 500, "walltime_s": 60, "retry_s": 1, "options": [], **request}
        site = Site.load("dev", {"driver": driver})
        folder = tmp_path / "a campaign's folder"
        chain = DriverJob(site, folder, "test")
        chains.append(chain)
        chain.folder.mkdir(parents=True)
        (chain.folder / "plan").write_text("\n".join(plan) + "\n")
        program = tmp_path / "the driver"
        program.write_text(DRIVER)
        program.chmod(0o755)
        chain.submit([str(program)])
        return chain

    yield begin
    for chain in chains:
        subprocess.run(["scancel", f"--name={chain.name}"], check=False, timeout=60)


def until_empty(chain: DriverJob, timeout_s: float = 90) -> list[str]:
    """Wait until no job of the chain is in the queue; the job of each run of the driver."""
    deadline = time.monotonic() + timeout_s
    while slurm("squeue", "-h", f"--name={chain.name}"):
        assert time.monotonic() < deadline, (chain.folder / "driver.log").read_text()
        time.sleep(0.3)
    return (chain.folder / "runs").read_text().split()


def states(chain: DriverJob) -> list[str]:
    return slurm("sacct", "-n", "-X", "-P", "-S", "now-1hour", f"--name={chain.name}", "-o", "State").splitlines()


def test_finished_at_once_leaves_no_job_behind(start: Callable[..., DriverJob]) -> None:
    chain = start("finish")
    assert len(until_empty(chain)) == 1
    assert (chain.folder / "finished").read_text() == "the campaign is finished\n"
    assert driver_trouble(chain.folder.parent) == ""


def test_a_killed_job_is_followed_by_another(start: Callable[..., DriverJob]) -> None:
    """Nothing of the job is left to submit anything: the successor was there before."""
    chain = start("kill", "kill", "finish")
    assert len(set(until_empty(chain))) == 3
    assert (chain.folder / "finished").is_file()


def test_three_failures_in_a_row_end_the_chain_and_are_told(start: Callable[..., DriverJob]) -> None:
    chain = start("fail", "kill", "fail", "finish")
    assert len(set(until_empty(chain))) == 3
    assert "the last 3 driver jobs failed, this one with code 1" in driver_trouble(chain.folder.parent)


def test_killed_again_and_again_ends_too(start: Callable[..., DriverJob]) -> None:
    chain = start("kill")
    assert len(set(until_empty(chain))) == 3
    assert "the last 3 driver jobs failed or were killed" in driver_trouble(chain.folder.parent)


def test_a_second_chain_is_refused(start: Callable[..., DriverJob]) -> None:
    chain = start("hang")
    with pytest.raises(SchedulerError, match="in the queue already"):
        chain.submit(["true"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_left_before_the_walltime_it_goes_on_in_the_next_job(start: Callable[..., DriverJob]) -> None:
    """Failures before and after do not add up, and a driver kept out by another waits and tries again."""
    chain = start("fail", "fail", "leave", "fail", "locked", "locked", "finish")
    jobs = until_empty(chain, 200)
    assert len(jobs) == 7
    assert len(set(jobs)) == 5
    assert (chain.folder / "finished").is_file()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_over_the_walltime_it_goes_on_in_the_next_job(start: Callable[..., DriverJob]) -> None:
    chain = start("hang", "finish")
    assert len(until_empty(chain, 250)) == 2
    assert "TIMEOUT" in states(chain)


def test_without_an_answer_from_sbatch_it_says_that_no_job_follows(
    start: Callable[..., DriverJob], tmp_path: Path
) -> None:
    chain = start("hang")
    script = (chain.folder / "job.sh").read_text()
    subprocess.run(["scancel", f"--name={chain.name}"], check=True, timeout=60)
    for name in ("sbatch", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    (chain.folder / "plan").write_text("finish\n")
    quick = script.replace("succeed 0 10 60", "succeed 0 0 0")
    assert quick != script
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "1"}
    done = subprocess.run(["bash", "-c", quick], env=environment, timeout=60, check=False)
    assert done.returncode == 0  # it drove the campaign all the same
    assert "no successor of job 1 could be submitted" in driver_trouble(chain.folder.parent)


def test_the_script_is_clean(slurm_site: Site, tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    site = Site.load("dev", {"environment": ["module() { :; }", "module load gcc"]})
    script = tmp_path / "job.sh"
    script.write_text(DriverJob(site, tmp_path / "it's a folder", "test").script(["python", "-m", "x", "a b"]))
    subprocess.run(["shellcheck", script], check=True)
