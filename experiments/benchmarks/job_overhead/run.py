"""What a job costs the driver: many short jobs through a real Slurm, in pilots.

    python experiments/benchmarks/job_overhead/run.py [--quick] [--jobs N] [--out FILE]

The last line printed is one JSON object. Needs the test cluster (slurm/dev-cluster.sh up) or a Slurm of yours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

from materia.compute import JobManager, Ledger, Site, SlurmBackend
from materia.compute.testing import open_ledger
from materia.record import JobSpec, Resources

# Publishes a result as any program has to: temporary name, then rename. A shell: the driver is what is measured.
PROGRAM = (
    'printf \'{"version": 1, "key": "%s", "attempt": %s, "status": "completed", "values": {}}\' '
    '"$MATERIA_JOB_KEY" "$MATERIA_ATTEMPT" > result.tmp && mv result.tmp result.json'
)
POLL_S = 2.0


def memory_mb() -> float:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def cpu_s() -> float:
    """CPU seconds of the driver and of the commands it ran (sbatch, squeue, sacct)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def add_jobs(ledger: Ledger, n_jobs: int) -> None:
    with ledger.transaction():
        for number in range(n_jobs):
            asked = Resources(memory_mb=100, walltime_s=30)
            ledger.add(JobSpec(f"job{number:06d}", ("/bin/sh", "-c", PROGRAM), {}, {}, asked, f"job {number}"))


def run(n_jobs: int) -> dict[str, object]:
    pilots = {"below_s": 60, "count": 2, "slots": 1, "walltime_s": 3600, "members": 1000}
    site = Site.load("dev", {"options": [], "pilots": pilots, "poll_interval_s": POLL_S})
    with tempfile.TemporaryDirectory(prefix="materia-overhead-") as folder:
        root = Path(folder)
        ledger, backend = open_ledger(root), SlurmBackend(site)
        manager = JobManager(ledger, backend, root)
        before, clock = cpu_s(), time.monotonic()
        add_jobs(ledger, n_jobs)
        done, polls, memory = 0, 0, []
        with Progress() as progress:
            bar = progress.add_task("jobs", total=n_jobs)
            while done < n_jobs:
                done += len(manager.advance())
                polls += 1
                memory.append(memory_mb())
                progress.update(bar, completed=done)
                time.sleep(POLL_S)
        states = {state.value: number for state, number in ledger.counts().items()}
        return {
            "jobs": n_jobs,
            "states": states,
            "driver_cpu_ms_per_job": round(1000 * (cpu_s() - before) / n_jobs, 3),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
            "memory_after_submission_mb": round(memory[0], 1),
            "memory_at_the_end_mb": round(memory[-1], 1),
            "polls": polls,
            "scheduler_questions": backend.client.questions,
            "wall_s": round(time.monotonic() - clock, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 jobs")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="write the result there")
    arguments = parser.parse_args()
    figures = run(1000 if arguments.quick else arguments.jobs)
    slurm = subprocess.run(["sinfo", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    figures["machine"] = {"cores": os.cpu_count(), "cpu": platform.machine()}
    figures["versions"] = {"python": platform.python_version(), "slurm": slurm.removeprefix("slurm-wlm ")}
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
