"""The shards of a screen as jobs of one Slurm array, each computed once through crashes of everyone involved."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from materia.campaign._shards import Plan, Report, missing_shards
from materia.compute import Job, JobManager, Ledger, Site, SlurmBackend
from materia.record import JobSpec, Resources


def run_shards(
    work: Path,
    plan: Plan,
    site: str,
    overrides: Mapping[str, Any],
    resources: Resources,
    device: str,
    report: Report | None,
) -> dict[int, str]:
    """Submit the shards that are missing and wait for them; a call that was killed finds its array again.

    Returns:
        by shard, why it is not there.

    Raises:
        SchedulerError: the site refuses the jobs, in its own words.
    """
    with contextlib.closing(sqlite3.connect(work / "jobs.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA synchronous=FULL")
        ledger = Ledger(connection)
        ledger.create_tables()
        backend = SlurmBackend(Site.load(site, overrides))
        manager = JobManager(ledger, backend, work)
        missing = missing_shards(work, plan)
        with ledger.transaction():
            for k in missing:
                _want(ledger, work, plan, k, resources, device)
        while manager.active:
            manager.advance()
            if report is not None:
                done = [shard_of(job) for job in ledger.jobs() if job.outcome is not None and job.outcome.ok]
                report(sum(plan.bounds[k + 1] - plan.bounds[k] for k in set(done)), plan.n)
            if manager.active:
                time.sleep(backend.poll_interval_s)
        last = {shard_of(job): job for job in ledger.jobs()}
        return {
            k: f"{job.outcome.reason or job.outcome.kind}: {job.outcome.message}".strip(": ")
            for k, job in last.items()
            if job.outcome is not None and not job.outcome.ok
        }


def shard_of(job: Job) -> int:
    return int(job.spec.payload["shard"])


def _want(ledger: Ledger, work: Path, plan: Plan, k: int, resources: Resources, device: str) -> None:
    """One job for a shard unless one is under way; where all ended without the shard, another."""
    earlier = [job for job in ledger.jobs() if shard_of(job) == k]
    if any(job.outcome is None for job in earlier):
        return
    ledger.add(
        JobSpec(
            key=f"{plan.identity}-{k:05d}-{len(earlier)}",
            argv=("python", "-m", "materia.campaign.screen_worker"),
            payload={"version": 1, "work": str(work), "shard": k, "device": device, "threads": resources.cores},
            resources=resources,
            name=f"screen/{k}",
        )
    )
