"""A training as a Slurm job: two processes, requeued in the middle, submitted once whatever happens to the driver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from labelled_file import QUANTITY, TINY, write_labelled
from materia.campaign import SiteJob
from materia.campaign._train_job import job_script, options
from materia.compute import Site
from materia.errors import ConfigError

ASKED = ("--target", "stiffness=K_GPa", "--quantity", QUANTITY, *TINY, "--devices", "2", "--seed", "5")
SITE = ("--site", "dev", "--memory-mb", "3000", "--walltime-s", "900")


def train(out: Path, *arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "materia.cli", "train", "--out", str(out), "--json", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False, env=env)


def slurm(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout


def until(condition: Any, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_script_is_clean_and_quotes_everything(nodes: int, tmp_path: Path) -> None:
    site = Site.load("dev", {"environment": ["module() { :; }", "module load gcc"]})
    script = tmp_path / "job.sh"
    script.write_text(job_script(tmp_path / "a b'c\"d $(touch PWNED) `x`;%A", site, SiteJob(nodes=nodes, processes=2)))
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", "--exclude=SC2016", script], check=True)  # that $ stays as it is, is meant so


def test_what_is_asked_of_the_site() -> None:
    job = SiteJob(nodes=2, processes=4, gpus=4, cores=20, memory_mb=100_000, walltime_s=7200)
    asked = options("token", Site.load("marenostrum5", {"account": "ehpc42"}), job)
    for option in ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=80", "--gres=gpu:4", "--requeue",
                   "--time=122", "--signal=B:USR1@120", "--account=ehpc42", "--job-name=token"):  # fmt: skip
        assert option in asked
    assert not any(option.startswith("--mem") for option in asked)  # that site gives memory with cores
    with pytest.raises(ConfigError, match="as many processes as GPUs"):
        SiteJob(processes=2, gpus=4)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.parametrize("requeue", [("scontrol", "requeue"), ("scancel", "--batch", "--signal=USR1")])
def test_requeued_in_the_middle_it_ends_with_the_model(
    slurm_site: Site, tmp_path: Path, requeue: tuple[str, ...]
) -> None:
    """By Slurm, as after preemption; and by itself, when told that its walltime is nearly over."""
    data = write_labelled(tmp_path / "d.jsonl")
    asked = ("--data", data, *ASKED, "--epochs", "120")
    out = tmp_path / "model"
    first = train(out, *asked, *SITE)
    assert first.returncode == 0, first.stderr
    job = json.loads(first.stdout)
    again = json.loads(train(out, *asked, *SITE).stdout)
    assert again["job"] == job["job"]  # not submitted twice
    until(lambda: (out / "training/member-0.ckpt").exists() or (out / "training/member-1.ckpt").exists())
    slurm(*requeue, f"{job['job']}_0")
    until(lambda: "PENDING" in slurm("squeue", "-h", "-a", "-r", "-j", job["job"], "-t", "all", "-o", "%T"))
    assert not (out / "card.json").exists() and (out / "training").exists()
    slurm("scontrol", "update", f"jobid={job['job']}", "StartTime=now")  # else two minutes of waiting
    done = train(out, "--resume", *SITE, "--wait")
    assert done.returncode == 0, done.stderr + Path(job["log"]).read_text()[-2000:]
    told = json.loads(done.stdout)
    assert told["n_train"] == 24 and told["targets"]["stiffness"]["n"] == 24
    assert "Restarts=1" in slurm("scontrol", "show", "job", job["job"])
    local = tmp_path / "local"
    assert train(local, *asked).returncode == 0
    assert (out / "weights.safetensors").read_bytes() == (local / "weights.safetensors").read_bytes()


@pytest.mark.slurm
def test_driver_killed_between_sbatch_and_its_id(slurm_site: Site, tmp_path: Path) -> None:
    data = write_labelled(tmp_path / "d.jsonl")
    shim = tmp_path / "shim" / "sbatch"
    shim.parent.mkdir()
    shim.write_text(
        f"#!/bin/sh\n{shutil.which('sbatch')} \"$@\" >/dev/null\necho x >>'{tmp_path}/calls'\nkill -9 $PPID\n"
    )
    shim.chmod(0o755)
    asked = ("--data", data, *ASKED, "--epochs", "2", *SITE)
    killed = train(tmp_path / "m", *asked, env={**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"})
    assert killed.returncode == -9
    record = json.loads((tmp_path / "m/site/submission.json").read_text())
    assert record["job"] == ""
    done = train(tmp_path / "m", *asked, "--wait")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text() == "x\n"
    text = slurm("sacct", "-n", "-X", "-P", "-S", "now-1hour", f"--name={record['token']}", "-o", "JobID")
    assert len(text.split()) == 1


@pytest.mark.slurm
def test_refusals_are_said(slurm_site: Site, tmp_path: Path) -> None:
    data = write_labelled(tmp_path / "d.jsonl")
    asked = ("--data", data, *ASKED, "--epochs", "2", *SITE)
    long = train(tmp_path / "m", *asked, "--walltime-s", "80000")
    assert long.returncode == 1 and "80000 s of walltime" in long.stderr
    rejected = train(tmp_path / "m", *asked, "--site-set", "account=nobody")
    assert rejected.returncode == 1 and "Invalid account" in rejected.stderr
    again = train(tmp_path / "m", *asked)
    assert again.returncode == 1 and "not certain yet" in again.stderr
    time.sleep(6)  # the profile's settle_s
    done = train(tmp_path / "m", *asked, "--wait")
    assert done.returncode == 0, done.stderr
