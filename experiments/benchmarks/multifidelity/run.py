"""Choosing candidate and kind of calculation by gain per cost, against a tuned ladder from PBE to HSE06.

    python experiments/benchmarks/multifidelity/run.py --records FOLDER [--weights MODEL] [--folder RUNS] [--quick]

FOLDER is searched for ``multifidelity_gaps.jsonl.gz``. MODEL is a network that has seen no label of the pool's
formulas (``experiments/pretrain/run.py --leave-out experiments/benchmarks/replay/hse_absorber.yaml``): PBE gaps are
then predicted as a campaign does, by a Gaussian process over it; without, by a forest that knows the labels alone.
Finished runs are kept in RUNS. The last line printed is the result as JSON: ``gain`` (cost of the best of the ladders
over that of the choice by gain, to half of all hits, seeds paired), ``low`` and ``high`` (95 %, bootstrap over seeds).
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
from typing import Any, Literal

import numpy as np

from materia import files
from materia.campaign import GaussianProcess, InformedForest
from materia.search import Conditions, Objective
from materia.search.replay import DataSettings, KnownPool, Learner, StagedRun, Stages, play_by_gain, play_ladder

FILE = "multifidelity_gaps.jsonl.gz"
WINDOW = (1.1, 1.7)  # of a hit, HSE06, eV
STAGES = Stages("gap_pbe_mp", "gap_hse06", cheap_cost=1.0, dear_cost=10.0, start=50, batch=20, share=0.5)
LOWS, HIGHS = (0.2, 0.4, 0.6), (0.8, 1.0, 1.2, 1.4)  # of a ladder's PBE window, eV; every pair is tried
SEEDS = 20
TRIED, HOPELESS = 5, 1.25  # ladders so much dearer than the cheapest one on so many seeds are not played further
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
By = Literal["process", "informed_forest", "forest"]  # what predicts PBE gaps
Ladder = tuple[By, Window]
Task = tuple[By, int, Window | None]  # seed, and the ladder's window; None: by gain


def play(task: Task, pool: KnownPool, model: Path | None) -> StagedRun:
    """One run; with ``forest`` no model is asked."""
    by, seed, window = task
    learner: Learner | None = None
    if by == "process":
        learner = GaussianProcess(str(model), trees=0)
    elif by == "informed_forest":
        learner = InformedForest(str(model), trees=STAGES.trees)
    if window is None:
        told = None if by == "forest" else InformedForest(str(model)).matrix(pool)
        return play_by_gain(pool, conditions(), STAGES, seed, learner, told)
    return play_ladder(pool, conditions(), STAGES, seed, window, learner)


def play_all(folder: Path, pool: KnownPool, tasks: list[Task], model: Path | None) -> dict[Task, StagedRun]:
    """All runs; those of earlier calls are read."""
    found: dict[Task, StagedRun] = {}
    weights = None if model is None else hashlib.sha256((model / "weights.safetensors").read_bytes()).hexdigest()
    for task in tasks:
        by, *rest = task
        about = json.dumps([pool.digest, asdict(STAGES), WINDOW, by, *rest, None if by == "forest" else weights])
        path = folder / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.json"
        if path.is_file():
            record = json.loads(path.read_text())
            found[task] = StagedRun(tuple(map(tuple, record["steps"])), record["cost"], record["reached"])
            continue
        found[task] = play(task, pool, model)
        files.write_whole(path, json.dumps(found[task].to_json()))
        print(f"{len(found)} of {len(tasks)}: {task} {found[task].cost:.0f}", flush=True)
    return found


def costs_of_ladders(runs: dict[Task, StagedRun]) -> dict[Ladder, list[float]]:
    """Of each ladder, seed by seed."""
    costs: dict[Ladder, list[float]] = {}
    for (by, _, window), run in runs.items():
        if window is not None:
            costs.setdefault((by, window), []).append(run.cost)
    return costs


def promising(runs: dict[Task, StagedRun]) -> list[Ladder]:
    """Ladders that these runs do not show to be much dearer than the cheapest one."""
    mean = {ladder: float(np.mean(costs)) for ladder, costs in costs_of_ladders(runs).items()}
    return [ladder for ladder, cost in mean.items() if cost <= HOPELESS * min(mean.values())]


def interval(figures: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """A figure of (k, seeds) rows, with the 95 % interval of a bootstrap over the seeds."""
    draws = np.random.default_rng(0).integers(0, figures.shape[1], (DRAWS, figures.shape[1]))
    low, high = np.quantile(of(figures[:, draws]), [0.025, 0.975])
    value = float(of(figures[:, None, :])[0])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def compared(runs: dict[Task, StagedRun]) -> dict[str, Any]:
    """What the choice by gain costs against the best of the ladders, known in hindsight."""
    seeds = sorted({seed for _, seed, _ in runs})
    (own,) = {by for by, _, window in runs if window is None}
    gain = np.array([runs[own, s, None].cost for s in seeds])
    costs = costs_of_ladders(runs)
    whole = [ladder for ladder, each in costs.items() if len(each) == len(seeds)]
    reached = {(by, window): sum(runs[by, s, window].reached for s in seeds) for by, window in whole}
    got_there = [ladder for ladder in whole if reached[ladder] == len(seeds)]
    best = min(got_there or whole, key=lambda ladder: float(np.mean(costs[ladder])))
    cheapest = np.array([runs[best[0], s, best[1]].cost for s in seeds])
    ratio = interval(np.stack([cheapest, gain]), lambda rows: rows[0].mean(axis=-1) / rows[1].mean(axis=-1))
    calculations = [[sum(stage == k for _, stage in runs[own, s, None].steps) for k in (0, 1)] for s in seeds]
    mean_of = np.mean(calculations, axis=0).round(1).tolist()
    mean_cost = {ladder: round(float(np.mean(each)), 1) for ladder, each in costs.items()}
    rows = {(by, w): {"pbe_gaps_by": by, "window": w, "cost": cost} for (by, w), cost in mean_cost.items()}
    return {
        "gain": ratio["value"],
        "low": ratio["low"],
        "high": ratio["high"],
        "pbe_gaps_by": own,
        "cost": {"gain": round(float(gain.mean()), 1), "ladder": rows[best]["cost"]},
        "reached": sum(runs[own, s, None].reached for s in seeds),
        "calculations_by_gain": {"pbe": mean_of[0], "hse06": mean_of[1]},
        "best_ladder": best,
        "ladders": [{**rows[ladder], "reached": reached[ladder]} for ladder in whole],
        "dearer": [{**rows[each], "seeds": len(costs[each])} for each in costs if each not in whole],
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
    own: By = "forest" if args.weights is None else "process"
    opponents: list[By] = ["forest"] if args.weights is None else ["process", "informed_forest"]
    first: list[Task] = [(by, s, window) for by in opponents for window in windows for s in seeds[:TRIED]]
    tried = play_all(folder, pool, first, args.weights)
    tasks = first + [(by, s, window) for by, window in promising(tried) for s in seeds[TRIED:]]
    tasks += [(own, s, None) for s in seeds]
    hits = pool.hits(conditions())
    result: dict[str, Any] = {
        **compared(play_all(folder, pool, tasks, args.weights)),
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
