"""Compare the expected peak memory of plane-wave jobs with what six structures of the project's own dataset take.

    python experiments/cost/memory.py FOLDER

Runs a gap and a relaxation of each, from the smallest to the largest wave functions in the dataset, one at a time in
FOLDER (twenty minutes; run again, it goes on). One line a job; the last is one JSON object with the ratios of peak to
expectation behind PROGRAM_MB and COPIES in src/materia/simulation/_cost.py.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from materia import Dataset
from materia.compute import JobManager, LocalBackend
from materia.compute.testing import open_ledger
from materia.resources import resource
from materia.simulation import STANDARD, make_job

CHOSEN = (0, 30, 60, 90, 110, 121)  # in order of expected memory


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        (make_job("gap", e.structure, STANDARD, name=f"{e.id}/gap"), e) for e in Dataset.load(resource("data/dataset"))
    ]
    entries.sort(key=lambda pair: (pair[0].features["estimate_mb"], pair[1].id))
    ledger, expected = open_ledger(folder), {}
    for index in CHOSEN:
        gap, entry = entries[index]
        for job in (gap, make_job("relax", entry.initial, STANDARD, name=f"{entry.id}/relax")):
            expected[job.key] = job.features["estimate_mb"]
            ledger.add(job)
    manager = JobManager(ledger, LocalBackend(cores=1), folder)
    while manager.active:
        manager.advance()
        time.sleep(1)
    ratios: dict[str, list[float]] = {"gap": [], "relax": []}
    for job in ledger.jobs():
        if job.outcome is not None and job.outcome.ok and job.key in expected:
            peak = float(job.outcome.provenance["compute"]["max_rss_mb"])
            ratios[job.name.rpartition("/")[2]].append(peak / expected[job.key])
            print(f"{job.name:30} expected {expected[job.key]:4.0f} MB, peak {peak:4.0f} MB")
    print(
        json.dumps({name: {"n": len(found), "least": min(found), "most": max(found)} for name, found in ratios.items()})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
