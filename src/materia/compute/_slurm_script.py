"""The job script of a task and the options it is submitted with."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path

from materia.compute import launcher
from materia.compute._backend import Task
from materia.compute._site import Site


def site_python(site: Site) -> str:
    """The interpreter on the nodes."""
    return site.python or sys.executable


def job_script(site: Site, folder: Path) -> str:
    """The script of the task in ``folder``: no name, formula or path reaches the shell unquoted."""
    run = [site_python(site), "-P", launcher.__file__, "--member", str(folder / "members.json")]
    lines = [
        "#!/bin/bash",
        "# One member of this array runs one attempt; members.json says which.",
        f'exec >>{shlex.quote(str(folder))}/"member-$SLURM_ARRAY_TASK_ID.log" 2>&1',
        *site.environment,
        f'exec {shlex.join(run)} "$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(lines) + "\n"


def sbatch_options(site: Site, task: Task) -> list[str]:
    """Everything but the script: name, array, resources, queue."""
    asked = task.members[0].resources
    throttle = f"%{site.array_throttle}" if site.array_throttle else ""
    cores = asked.cores
    if site.memory_per_core_mb:
        cores = max(cores, math.ceil((asked.memory_mb + site.memory_margin_mb) / site.memory_per_core_mb))
    options = {
        "job-name": task.token,
        "array": f"0-{len(task.members) - 1}{throttle}",
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(cores),
        "time": str(math.ceil((asked.walltime_s + site.walltime_margin_s) / 60)),
        "partition": site.partition,
        "qos": site.qos,
        "account": site.account,
        "constraint": site.constraint,
        "mem": f"{asked.memory_mb + site.memory_margin_mb}M" if site.request_memory else None,
        "chdir": "/",  # every path in the script is absolute
        "output": "/dev/null",  # the script opens its own log: Slurm would expand % and \ in its path
    }
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return ["--parsable", "--no-requeue", *given, *site.options]
