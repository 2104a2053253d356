"""The Slurm job of a training: what it asks for, its options and its script."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from materia.campaign._train import worker_arguments
from materia.compute import Site
from materia.errors import ConfigError
from materia.record import Resources

FOLDER: Final = "site"  # in the model folder: script, log, submission.json


@dataclass(frozen=True)
class SiteJob:
    """What a training asks a site for.

    Attributes:
        nodes: how many.
        processes: on each node; with GPUs one a GPU.
        gpus: on each node.
        cores: of each process.
        memory_mb: on each node.
        walltime_s: of one run; a training that needs longer is requeued and goes on.
    """

    nodes: int = 1
    processes: int = 1
    gpus: int = 0
    cores: int = 1
    memory_mb: int = 4000
    walltime_s: int = 3600

    def __post_init__(self) -> None:
        if min(self.nodes, self.processes, self.cores) < 1 or self.gpus not in (0, self.processes):
            raise ConfigError(
                f"{self.nodes} nodes with {self.processes} processes of {self.cores} cores and {self.gpus} GPUs",
                remedy="ask for at least one of each, and for as many processes as GPUs",
            )

    @property
    def on_a_node(self) -> Resources:
        return Resources(self.processes * self.cores, self.memory_mb, self.walltime_s)


def options(token: str, site: Site, job: SiteJob) -> list[str]:
    """Options of ``sbatch``. An array of one, so that it is found and watched like any other task."""
    cores = job.on_a_node.cores
    if site.memory_per_core_mb:
        cores = max(cores, math.ceil((job.memory_mb + site.memory_margin_mb) / site.memory_per_core_mb))
    margin = max(60, site.walltime_margin_s)  # Slurm may send the signal up to a minute early
    given = {
        "job-name": token,
        "array": "0",
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(cores),
        "time": str(math.ceil((job.walltime_s + margin) / 60)),
        "partition": site.partition,
        "qos": site.qos,
        "account": site.account,
        "constraint": site.constraint,
        "mem": f"{job.memory_mb + site.memory_margin_mb}M" if site.request_memory else None,
        "gres": f"gpu:{job.gpus}" if job.gpus else None,
        "signal": f"B:USR1@{margin}",
        "chdir": "/",
        "output": "/dev/null",  # the script opens its own log: Slurm would expand % and \ in its path
    }
    named = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return ["--parsable", "--requeue", *named, *site.options]


def job_script(folder: Path, site: Site, job: SiteJob) -> str:
    """The job script: no path reaches the shell unquoted.

    Preempted or after a node failure, Slurm requeues the job by itself. Shortly before its walltime is over it
    gets USR1 and requeues itself: not TERM, which also ends a job that a person cancels.
    """
    python = site.python or sys.executable
    run = [python, "-m", "torch.distributed.run", f"--nproc-per-node={job.processes}"]
    work = shlex.join(worker_arguments(folder))
    if job.nodes == 1:
        command = f"{shlex.join([*run, '--standalone'])} {work}"
    else:
        meeting = (
            '--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" '
            '--rdzv-endpoint="$(hostname):$((20000 + SLURM_JOB_ID % 20000))"'
        )
        command = f"srun --kill-on-bad-exit=1 {shlex.join([*run, f'--nnodes={job.nodes}'])} {meeting} {work}"
    lines = [
        "#!/bin/bash",
        "# One training by torchrun; every start of this job goes on from the last checkpoint.",
        f'exec >>{shlex.quote(str(folder / FOLDER))}/"job-$SLURM_JOB_ID.log" 2>&1',
        *site.environment,
        f"export OMP_NUM_THREADS={job.cores}",
        "trap 'scontrol requeue \"$SLURM_JOB_ID\"' USR1",
        f"{command} &",
        "child=$!",
        'wait "$child"',
        "status=$?",
        'while [ "$status" -gt 128 ] && kill -0 "$child" 2>/dev/null; do  # wait was interrupted by the trap',
        '  wait "$child"',
        "  status=$?",
        "done",
        'exit "$status"',
    ]
    return "\n".join(lines) + "\n"
