"""Jobs that ended, as samples to learn from: those of a ledger, and those of earlier campaigns."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from materia.compute._estimates import Sample
from materia.compute._ledger import Job, Ledger
from materia.record import AttemptRecord


def samples_of(ledger: Ledger, place: str, n_jobs: int | None = None) -> list[Sample]:
    """What the jobs of a ledger that ended tell about the cost of others.

    Args:
        ledger: a campaign's.
        place: machine or site that is to be asked next; samples from elsewhere are marked as such.
        n_jobs: only the first so many jobs that were added. Jobs of a round are so kept out of what is asked for
            in that round, and the order in which they end changes nothing.
    """
    attempts = ledger.attempts()
    jobs = [job for job in ledger.jobs()[:n_jobs] if job.outcome is not None and job.spec.family]
    return [s for job in jobs if (s := _sample(job, attempts.get(job.key, ()), place)) is not None]


def samples_in(folder: Path, place: str) -> list[Sample]:
    """What an earlier campaign in a folder tells; nothing where there is no database that can be read.

    An estimate can do without it, so a database that is damaged, locked or of another kind is no error here.
    """
    file = folder / "campaign.sqlite"
    if not file.is_file():
        return []
    try:
        address = f"{file.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            return samples_of(Ledger(connection), place)
    except sqlite3.DatabaseError:
        return []


def _sample(job: Job, attempts: Sequence[AttemptRecord], place: str) -> Sample | None:
    """The attempt that completed, else the most that any attempt took, as a lower bound."""
    if job.outcome is None:
        return None
    spec, ended = job.spec, [a for a in attempts if a.kind is not None and a.wall_s > 0]
    done = [a for a in ended if job.outcome.ok and a.number == job.outcome.attempt]
    if done:
        (a,) = done
        return Sample(
            job.key, spec.family, spec.features, a.asked.cores, a.wall_s, a.peak_mb or 0.0, True, a.place == place
        )
    if ended:
        cores, here = ended[-1].asked.cores, ended[-1].place == place
        wall_s = max(a.wall_s for a in ended)
        peak_mb = max(a.peak_mb or 0.0 for a in ended)
        return Sample(job.key, spec.family, spec.features, cores, wall_s, peak_mb, False, here)
    if not job.outcome.ok:
        return None
    wall_s = float(job.outcome.provenance.get("wall_s", 0.0))  # taken over: the program's own word, from elsewhere
    return Sample(job.key, spec.family, spec.features, spec.resources.cores, wall_s, 0.0, True, False)
