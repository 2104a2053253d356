"""Choosing candidate and kind of calculation by gain per cost, against a tuned ladder from PBE to HSE06.

    python experiments/benchmarks/multifidelity/run.py --records FOLDER [--weights MODEL] [--folder RUNS] [--quick]

FOLDER is searched for ``multifidelity_gaps.jsonl.gz``. MODEL is a network that has seen no label of the pool's
formulas (``experiments/pretrain/run.py --leave-out experiments/benchmarks/replay/hse_absorber.yaml``): all is then
played a second time with forests that are told what it says. Finished runs are kept in RUNS. The last line printed
is the result as JSON: ``gain`` (cost of the best of the ladders over that of the choice by gain, to half of all hits,
seeds paired), ``low`` and ``high`` (95 %, bootstrap over seeds), and under ``told`` the same of the second time.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from materia import files
from materia.campaign import InformedForest
from materia.search import Conditions, Objective
from materia.search.replay import DataSettings, KnownPool, StagedRun, Stages, play_by_gain, play_ladder

FILE = "multifidelity_gaps.jsonl.gz"
WINDOW = (1.1, 1.7)  # of a hit, HSE06, eV
STAGES = Stages("gap_pbe_mp", "gap_hse06", cheap_cost=1.0, dear_cost=10.0, start=50, batch=20, share=0.5)
LOWS, HIGHS = (0.2, 0.4, 0.6), (0.8, 1.0, 1.2)  # of a ladder's PBE window, eV; every pair is tried
SEEDS = 20
DRAWS = 10_000


def known_pool(records: Path | None, most: int | None = None) -> KnownPool:
    """The crystals that have both gaps, in the order of the file, at most so many."""
    found = [] if records is None else sorted(records.rglob(FILE))
    if not found:
        raise SystemExit(f"{FILE} is not below {records}: name the folder of the published datasets with --records")
    fields = {"gap_pbe_eV": STAGES.cheap, "gap_hse_eV": STAGES.dear}
    with gzip.open(found[0], "rt") as lines, tempfile.NamedTemporaryFile("w", suffix=".jsonl") as both:
        records_of = (line for line in lines if all(json.loads(line)["targets"].get(f) is not None for f in fields))
        both.writelines(islice(records_of, most))
        both.flush()
        return KnownPool.load(DataSettings(records=both.name, targets=fields), conditions())


def conditions() -> Conditions:
    return Conditions([Objective(quantity=STAGES.dear, window=WINDOW)])


Window = tuple[float, float]
Task = tuple[int, Window | None]  # seed, and the ladder's window; None: by gain


def play(task: Task, pool: KnownPool, told: np.ndarray | None) -> StagedRun:
    seed, window = task
    if window is None:
        return play_by_gain(pool, conditions(), STAGES, seed, told)
    return play_ladder(pool, conditions(), STAGES, seed, window, told)


def play_all(folder: Path, pool: KnownPool, tasks: list[Task], model: Path | None) -> dict[Task, StagedRun]:
    """All runs; those of earlier calls are read.

    Args:
        model: what the forests are told; None: composition and cell alone.
    """
    found: dict[Task, StagedRun] = {}
    told = None if model is None else InformedForest(str(model)).matrix(pool)
    weights = [] if model is None else [hashlib.sha256((model / "weights.safetensors").read_bytes()).hexdigest()]
    for task in tasks:
        about = json.dumps([pool.digest, asdict(STAGES), WINDOW, *task, *weights])
        path = folder / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.json"
        if path.is_file():
            record = json.loads(path.read_text())
            found[task] = StagedRun(tuple(map(tuple, record["steps"])), record["cost"], record["reached"])
            continue
        found[task] = play(task, pool, told)
        files.write_whole(path, json.dumps(found[task].to_json()))
        print(f"{len(found)} of {len(tasks)}: {task} {found[task].cost:.0f}{' told' * bool(weights)}", flush=True)
    return found


def interval(figures: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """A figure of (k, seeds) rows, with the 95 % interval of a bootstrap over the seeds."""
    draws = np.random.default_rng(0).integers(0, figures.shape[1], (DRAWS, figures.shape[1]))
    low, high = np.quantile(of(figures[:, draws]), [0.025, 0.975])
    value = float(of(figures[:, None, :])[0])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def compared(runs: dict[Task, StagedRun], tasks: list[Task]) -> dict[str, Any]:
    """What the choice by gain costs against the best of the ladders, known in hindsight."""
    seeds = sorted({seed for seed, _ in tasks})
    windows = list(dict.fromkeys(window for _, window in tasks if window is not None))
    gain = np.array([runs[s, None].cost for s in seeds])
    ladders = {window: np.array([runs[s, window].cost for s in seeds]) for window in windows}
    reached = {w: sum(runs[s, w].reached for s in seeds) for w in windows}
    best = min([w for w in windows if reached[w] == len(seeds)] or windows, key=lambda w: float(ladders[w].mean()))
    ratio = interval(np.stack([ladders[best], gain]), lambda rows: rows[0].mean(axis=-1) / rows[1].mean(axis=-1))
    calculations = [[sum(stage == k for _, stage in runs[s, None].steps) for k in (0, 1)] for s in seeds]
    mean_of = np.mean(calculations, axis=0).round(1).tolist()
    return {
        "gain": ratio["value"],
        "low": ratio["low"],
        "high": ratio["high"],
        "cost": {"gain": round(float(gain.mean()), 1), "ladder": round(float(ladders[best].mean()), 1)},
        "calculations_by_gain": {"pbe": mean_of[0], "hse06": mean_of[1]},
        "best_ladder": best,
        "ladders": [
            {"window": w, "cost": round(float(c.mean()), 1), "reached": reached[w]} for w, c in ladders.items()
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, help="folder (searched below) with the published datasets")
    parser.add_argument("--weights", type=Path, help="model folder of a network that has seen none of these formulas")
    parser.add_argument("--folder", type=Path, default=None, help="where finished runs are kept")
    parser.add_argument("--quick", action="store_true", help="within a minute: one seed, two ladders, 500 crystals")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started, pool = time.time(), known_pool(args.records, 500 if args.quick else None)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="materia-multifidelity-"))
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(1 if args.quick else SEEDS)
    windows: list[Window] = [(0.4, 1.0), (0.2, 1.2)] if args.quick else list(product(LOWS, HIGHS))
    tasks: list[Task] = [(s, window) for window in (None, *windows) for s in seeds]
    hits = pool.hits(conditions())
    told = {} if args.weights is None else {"told": compared(play_all(folder, pool, tasks, args.weights), tasks)}
    result: dict[str, Any] = {
        **compared(play_all(folder, pool, tasks, None), tasks),
        **told,
        "seeds": len(seeds),
        "goal": {"pool": len(pool), "hits": int(hits.sum()), "wanted": int(np.ceil(STAGES.share * hits.sum()))},
        "stages": asdict(STAGES),
        "wall_minutes_of_this_call": round((time.time() - started) / 60, 1),
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name).partition("+")[0] for name in ("materia", "scikit-learn", "numpy")},
    }
    print(json.dumps(result))


if __name__ == "__main__":  # worker processes import this file
    main()
