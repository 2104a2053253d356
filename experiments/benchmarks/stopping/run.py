"""When stop rules end a campaign, against one who knows the answers.

    python experiments/benchmarks/stopping/run.py [--data FOLDER] [--pools own_gap,...] [--quick]

Each pool is searched to beyond the end by a forest, over many seeds; then the rule "no more than 5 % of all hits are
left" is asked of what the runs wrote down, at several certainties. The last line printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from materia.crystal import Crystal
from materia.search import Conditions, StopSettings
from materia.search.replay import KnownPool, ReplaySettings, bounds, play_all, stopping

SHARE = 0.05
CERTAINTIES = (0.5, 0.8, 0.95)
RECORDS = "mp_20_biternary.jsonl.gz"
PART = 2500  # of the 11,454 records
FOREST = {
    "name": "forest",
    "search": {
        "acquisition": "probability",
        "exploration": 0,
        "diversity": 0,
        "stop": {"remaining_share": SHARE, "certainty": max(CERTAINTIES)},
    },
}
ABSORBER = {
    "objectives": [{"quantity": "gap_pbe", "window": [0.6, 1.2]}],
    "constraints": [{"quantity": "energy_above_hull", "below": 0.05}],
}
POOLS: dict[str, dict[str, Any]] = {
    "own_gap": {
        "data": {"dataset": "shipped"},
        "objectives": [{"quantity": "gap_pbe", "window": [2.0, 6.0]}],
        "start": 16,
        "batch": 4,
    },
    "own_absorber": {"data": {"dataset": "shipped"}, **ABSORBER, "start": 16, "batch": 4},
    "synthetic": {
        "data": {"records": "synthetic.jsonl", "targets": {"gap": "gap_pbe"}},
        "objectives": [{"quantity": "gap_pbe", "window": [1.0, 1.8]}],
        "start": 40,
        "batch": 10,
    },
    "mp20_absorber_part": {
        "data": {
            "records": "mp20_part.jsonl",
            "targets": {"band_gap_pbe_eV": "gap_pbe_mp", "e_above_hull_eV": "energy_above_hull_mp"},
        },
        "objectives": [{"quantity": "gap_pbe_mp", "window": [1.1, 1.7]}],
        "constraints": [{"quantity": "energy_above_hull_mp", "below": 0.03}],
        "start": 100,
        "batch": 25,
    },
}


def write_synthetic(path: Path, n: int = 600, noise: float = 0.2) -> None:
    """Salts A2X2 in boxes; gaps follow from the ions, with noise (eV) that no feature tells of."""
    rng = np.random.default_rng(11)
    cations = ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Zn", "Cd", "Al", "Ga", "In")
    anions = ("S", "Se", "Te", "O", "N", "P", "As", "Cl")
    with path.open("w") as file:
        for k in range(n):
            c, a = int(rng.integers(len(cations))), int(rng.integers(len(anions)))
            lattice = np.diag([5.5, 5.5, 5.5 * float(rng.uniform(0.9, 1.3))])
            species = [cations[c], cations[c], anions[a], anions[a]]
            made = Crystal.from_species(lattice, species, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
            gap = max(0.0, 0.5 * a + 0.12 * c - 0.3 + float(rng.normal(0, noise)))
            file.write(json.dumps({"id": f"s{k}", "structure": made.to_record(), "targets": {"gap": gap}}) + "\n")


def write_part(records: Path, path: Path) -> None:
    """So many of the records, by chance."""
    with gzip.open(records, "rt") as file:
        lines = file.readlines()
    rows = np.sort(np.random.default_rng(0).permutation(len(lines))[:PART])
    path.write_text("".join(lines[i] for i in rows))


def settings_of(name: str, folder: Path, data: Path | None, seeds: int) -> ReplaySettings | None:
    """A pool's replay, its records written into the folder; None where their source is not there."""
    given = json.loads(json.dumps(POOLS[name]))
    if (file := given["data"].get("records")) is not None:
        path = folder / file
        folder.mkdir(parents=True, exist_ok=True)
        if name == "synthetic":
            write_synthetic(path)
        else:
            found = [] if data is None else sorted(data.rglob(RECORDS))
            if not found:
                return None
            write_part(found[0], path)
        given["data"]["records"] = str(path)
    return ReplaySettings.model_validate({"version": 1, "name": name, **given, "seeds": seeds, "strategies": [FOREST]})


def measure(settings: ReplaySettings, folder: Path, jobs: int) -> dict[str, Any]:
    """Figures of one pool: by certainty, where the rule stops, how far off that is, and what is lost."""
    conditions = Conditions(settings.objectives, settings.constraints)
    pool = KnownPool.load(settings.data, conditions)
    hits = pool.hits(conditions)
    runs = play_all(pool, settings, cache=folder / "runs", jobs=jobs)
    told = bounds(runs, hits)
    found: dict[str, Any] = {"pool": len(pool), "hits": int(hits.sum()), "seeds": len(runs)}
    found["bound_held"] = None if told is None else told["held"]
    found["by_certainty"] = {}
    for certainty in CERTAINTIES:
        figures = stopping(runs, hits, StopSettings(remaining_share=SHARE, certainty=certainty))
        kept = ("stopped", "seen", "step", "oracle", "distance", "off", "lost", "near", "kept", "both")
        found["by_certainty"][f"{certainty:g}"] = {key: figures.get(key) for key in kept}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"folder (searched below) with {RECORDS}")
    parser.add_argument("--pools", default=",".join(POOLS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("stopping"), help="runs are kept here, by pool")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="within a minute: own_gap, five seeds")
    args = parser.parse_args()
    result: dict[str, Any] = {}
    began = time.process_time()
    for name in ["own_gap"] if args.quick else args.pools.split(","):
        settings = settings_of(name, args.folder / name, args.data, 5 if args.quick else args.seeds)
        if settings is None:
            print(f"{name}: left out, {RECORDS} is not in {args.data}", flush=True)
            continue
        result[name] = measure(settings, args.folder / name, args.jobs)
        for certainty, row in result[name]["by_certainty"].items():
            print(
                f"{name:<20} certainty {certainty:<5} stops {row['distance']['value']:+.2f} from the oracle's step, "
                f"{row['off']['value']:.2f} off; lost {row['lost']['value']:.3f}; seeds within 20 % {row['near']:.2f}, "
                f"with at most 5 % lost {row['kept']:.2f}, both {row['both']:.2f}",
                flush=True,
            )
    cpu_s = round(time.process_time() - began, 1) if args.jobs == 1 else None
    print(json.dumps({"rule": {"remaining_share": SHARE}, "pools": result, "cpu_s": cpu_s}))


if __name__ == "__main__":  # worker processes import this file
    main()
