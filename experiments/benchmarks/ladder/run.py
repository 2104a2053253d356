"""What a ladder with tests saves, and whether it finds the same candidates as computing everything.

    python experiments/benchmarks/ladder/run.py --work FOLDER [--sample second] [--least CHANCE] [--store FOLDER ...]
        [--out FILE]
    python experiments/benchmarks/ladder/run.py --quick [--sample second] [--least CHANCE]

Two campaigns on the same sixty candidates (``SAMPLE.jsonl``): one computes every rung of each, the other has tests. The
second takes its results from the first, so nothing is computed twice; what it would have cost alone is the sum over
the jobs it asked for, and the CPU time of its driver. ``--quick`` plays the test before the dear rung on the results
in ``SAMPLE_table.json``, without surrogate. The last line printed is one JSON object. What is compared: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from materia.crystal import Crystal
from materia.data import Dataset
from materia.record import CampaignRecord, PickState, load_campaign
from materia.report import ladder_summary
from materia.resources import resource as shipped
from materia.search import GapMap, composition_features, spin_orbit_closing

HERE = Path(__file__).parent
SAMPLES = ("first", "second", "third")
DEAR, WINDOW = "gap_hse06_soc_on_pbe", (1.0, 2.2)
RUNGS = ("relax", "gap", "hybrid_spin_orbit")
LEAST, SHARE = 0.05, 0.05  # the defaults of a campaign file
ROUNDS, BATCH = 3, 20


def sample_file(sample: str) -> Path:
    return HERE / f"{sample}.jsonl"


def table_file(sample: str) -> Path:
    return HERE / f"{sample}_table.json"


def campaign(name: str, sample: str, recipes: list[Any], stores: list[Path], **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": name,
        "seed": 0,
        "space": {"exclude": [], "prototypes": [], "arity": [1, 2, 3], "files": [str(sample_file(sample))]},
        "objectives": [{"quantity": DEAR, "window": list(WINDOW)}],
        "ladder": {"level": "standard", "recipes": recipes},
        "compute": {"backend": "local", "cores": 1, "stores": [str(store.resolve()) for store in stores]},
        "tracking": {"enabled": False},
        **more,
    }


def start_of(sample: str, folder: Path) -> Path:
    """The dataset that ships without any formula of the sample, so that the surrogate has seen none of its gaps."""
    lines = sample_file(sample).read_text().splitlines()
    formulas = {Crystal.from_record(json.loads(line)["structure"]).formula for line in lines}
    whole = Dataset.load(shipped("data/dataset"))
    kept = Dataset(tuple(entry for entry in whole if entry.formula not in formulas), {**whole.card, "name": "start"})
    if not folder.exists():
        kept.save(folder)
    return folder


def run(content: dict[str, Any], work: Path) -> tuple[CampaignRecord, float]:
    """The finished campaign, and the CPU seconds of its driver with everything it started."""
    file = work / f"{content['name']}.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    folder = work / content["name"]
    argv = [sys.executable, "-m", "materia", "run", str(file), "--folder", str(folder)]
    subprocess.run(argv, check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return load_campaign(folder), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spent(record: CampaignRecord) -> dict[str, dict[str, float]]:
    """candidate -> recipe -> CPU seconds, of the jobs that the campaign asked for; whoever ran them."""
    found: dict[str, dict[str, float]] = {}
    for job in record.jobs:
        if job.outcome is not None:
            name, _, recipe = job.name.rpartition("/")
            found.setdefault(name, {})[recipe] = float(job.outcome.provenance["cpu_s"])
    return found


def hits(record: CampaignRecord) -> list[str]:
    return sorted(row["candidate_id"] for row in record.ranking if row["status"] == "computed" and row["hit"])


def full_run(sample: str, work: Path, stores: list[Path], least: float) -> dict[str, Any]:
    once = {"rounds": 1, "batch": 60, "acquisition": "random", "exploration": 0, "max_cost_s": None}
    everything, _ = run(campaign("full", sample, list(RUNGS), stores, data=None, surrogate=None, search=once), work)
    climb = {"climb": {"least": least, "share": SHARE}}
    tested = [{"recipe": "relax", **climb}, "gap", {"recipe": "hybrid_spin_orbit", **climb}]
    rounds = {"rounds": ROUNDS, "batch": BATCH, "max_cost_s": None}
    start = start_of(sample, work / "start")
    process = {"readout": "gaussian_process"}
    known = [work / "full", *stores]
    content = campaign(f"ladder-{least:g}", sample, tested, known, data=str(start), search=rounds, surrogate=process)
    ladder, driver_s = run(content, work)
    table = _table(everything)
    table_file(sample).write_text(json.dumps(table, indent=1) + "\n")
    of_all, of_ladder = spent(everything), spent(ladder)
    whole = sum(sum(costs.values()) for costs in of_all.values())
    jobs = sum(sum(costs.values()) for costs in of_ladder.values())
    final, same = hits(everything), hits(ladder)
    picks = [p for r in ladder.rounds for p in r.picks]
    return {
        "sample": sample,
        "least": least,
        "cpu_fraction": round((jobs + driver_s) / whole, 3),
        "cpu_fraction_jobs": round(jobs / whole, 3),
        "same_final_list": same == final,
        "final_list": final,
        "final_list_ladder": same,
        "missed": sorted(set(final) - set(same)),
        "cpu_s_everything": round(whole),
        "cpu_s_ladder_jobs": round(jobs),
        "cpu_s_ladder_driver": round(driver_s),
        "failed": sorted(p.candidate_id for r in everything.rounds for p in r.picks if p.state is PickState.FAILED),
        "states": {s.value: sum(p.state is s for p in picks) for s in PickState if any(p.state is s for p in picks)},
        "tests": ladder_summary(ladder),
    }


def _table(record: CampaignRecord) -> dict[str, Any]:
    """candidate -> formula, PBE and dear gap and the overlap of PBE's bands (eV), CPU seconds of each rung."""
    costs = spent(record)
    bands = {j.name.rpartition("/")[0]: j.outcome.values for j in record.jobs if j.outcome and j.name.endswith("/gap")}
    rows = {}
    for row in record.ranking:
        if row["status"] == "computed":
            gaps = {name: round(row["values"][name], 4) for name in ("gap_pbe", "gap_hse06_on_pbe", DEAR)}
            seconds = {recipe: round(s, 1) for recipe, s in costs[row["candidate_id"]].items()}
            gaps["overlap"] = round(bands[row["candidate_id"]]["overlap"], 4)
            rows[row["candidate_id"]] = {"formula": row["formula"], **gaps, "cpu_s": seconds}
    return dict(sorted(rows.items()))


def quick(sample: str, least: float) -> dict[str, Any]:
    """Every relaxation and PBE gap, then the dear rung where the map from PBE gaps leaves a chance."""
    table = json.loads(table_file(sample).read_text())
    crystals = {}
    for row in map(json.loads, sample_file(sample).read_text().splitlines()):
        crystals[row["id"]] = Crystal.from_record(row["structure"])
    names = list(table)
    x = composition_features([crystals[name] for name in names])
    closing, blur = spin_orbit_closing([crystals[name].composition for name in names])
    pbe = np.array([table[name]["gap_pbe"] for name in names])
    overlap = np.array([table[name]["overlap"] for name in names])
    chance = GapMap.shipped().predict(x, pbe, closing, blur, overlap).chance(*WINDOW)
    climbs = dict(zip(names, chance >= least, strict=True))
    inside = [name for name in names if WINDOW[0] <= table[name][DEAR] <= WINDOW[1]]
    whole = sum(sum(table[name]["cpu_s"].values()) for name in names)
    saved = sum(table[name]["cpu_s"]["hybrid_spin_orbit"] for name in names if not climbs[name])
    return {
        "quick": True,
        "sample": sample,
        "cpu_fraction_dear_test_only": round(1 - saved / whole, 3),
        "climbed": int(sum(climbs.values())),
        "candidates": len(names),
        "final_list": inside,
        "missed": [name for name in inside if not climbs[name]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--sample", choices=SAMPLES, help="by default the last; with --quick the last that is computed")
    parser.add_argument("--store", type=Path, nargs="*", default=[])
    parser.add_argument("--least", type=float, default=LEAST, help="chance of a hit below which a candidate stops")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.quick:
        result = quick(args.sample or [s for s in SAMPLES if table_file(s).exists()][-1], args.least)
    elif args.work is None:
        parser.error("name a folder for the campaigns with --work, or give --quick")
    else:
        args.work.mkdir(parents=True, exist_ok=True)
        result = full_run(args.sample or SAMPLES[-1], args.work.resolve(), args.store, args.least)
        packages = ("materia", "gpaw", "torch", "numpy")
        result |= {
            "seed": 0,
            "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        }
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
