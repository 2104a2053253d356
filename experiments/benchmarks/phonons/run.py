"""Matbench phonons: the last peak of the phonon density of states, official five folds, from random weights.

    python experiments/benchmarks/phonons/run.py --data FILE [--work FOLDER] [--jobs 2] [--quick]

FILE is ``matbench_phonons.jsonl.gz``: one record a line: ``id``, ``structure``, ``targets``, the official ``fold``.
A run that was cut off goes on: finished folds are kept in the work folder, and an unfinished one from its last
checkpoint. The last line printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from materia.crystal import Crystal
from materia.quantities import declare
from materia.surrogate import Example, SurrogateSettings, train

PEAK = declare("phonon_peak", unit="1/cm", lower=0.0, title="Last phonon DOS peak")
COLUMN = "last_phdos_peak_cm-1"
SETTINGS = SurrogateSettings(
    channels=32,
    layers=2,
    members=8,
    folds=32,
    epochs=80,
    batch_size=32,
    learning_rate=4e-3,
    ema=0.995,
    strain=0.01,
    rattle=0.01,
    replicas=1,
    pretrained=None,
    compile=True,
)


def load(file: Path) -> tuple[list[Example], np.ndarray]:
    """The structures with their labels, and (n,) official folds."""
    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    crystals = [Crystal.from_record(row["structure"]) for row in rows]
    examples = [
        Example(crystal, {PEAK.name: float(row["targets"][COLUMN])}, crystal.formula)
        for crystal, row in zip(crystals, rows, strict=True)
    ]
    return examples, np.array([row["fold"] for row in rows])


def run_fold(examples: list[Example], folds: np.ndarray, k: int, settings: SurrogateSettings, work: Path) -> None:
    """Train on the other folds, predict fold ``k``, and leave predictions and cost in ``fold_K.json``."""
    inside = [e for e, fold in zip(examples, folds, strict=True) if fold != k]
    held = [e for e, fold in zip(examples, folds, strict=True) if fold == k]
    cost = work / f"fold_{k}.cpu"  # of runs of this fold that were cut off
    before = float(cost.read_text()) if cost.exists() else 0.0

    def note(*_: Any) -> None:
        cost.write_text(str(before + time.process_time()))

    model = train(
        inside,
        targets=[PEAK.name],
        declared=[PEAK],
        settings=settings,
        folder=work / f"fold_{k}",
        seed=k,
        logger=note,
        progress=sys.stderr.isatty(),
    )
    trained = before + time.process_time()
    predicted = model.predict([e.crystal for e in held])
    mean, _ = predicted.column(PEAK.name)
    low, high = predicted.interval(PEAK.name)
    truth = np.array([e.targets[PEAK.name] for e in held])
    parameters = sum(p.numel() for p in model.members[0].network.parameters())
    single, _, _ = model.members[0].evaluate(model.prepare([e.crystal for e in held]), torch.device("cpu"))
    found = {
        "mae": float(np.abs(mean - truth).mean()),
        "median": float(np.median(np.abs(mean - truth))),
        "rmse": float(np.sqrt(((mean - truth) ** 2).mean())),
        "mae_single": float(np.abs(np.clip(single[:, 0], 0, None) - truth).mean()),
        "coverage_90": float(((truth >= low) & (truth <= high)).mean()),
        "n": len(held),
        "cpu_s": trained,
        "parameters": parameters,
        "predicted": mean.tolist(),
    }
    (work / f"fold_{k}.json").write_text(json.dumps(found))
    print(
        f"fold {k}: MAE {found['mae']:.2f} 1/cm, one member {found['mae_single']:.2f}, {trained:.0f} CPU-s", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="matbench_phonons.jsonl.gz")
    parser.add_argument("--work", type=Path, default=None, help="where models and finished folds are kept")
    parser.add_argument("--jobs", type=int, default=2, help="folds trained at once")
    parser.add_argument("--members", type=int, default=SETTINGS.members)
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--fold", type=int, default=None, help="this fold only, for jobs of their own")
    parser.add_argument("--quick", action="store_true", help="within a minute: one fold, one member, ten epochs")
    args = parser.parse_args()

    settings = SETTINGS.model_copy(update={"members": args.members, "epochs": args.epochs})
    chosen = list(range(5))
    if args.quick:
        settings = SETTINGS.model_copy(update={"members": 1, "epochs": 10, "compile": False})
        chosen = [0]
    work = args.work or Path(tempfile.mkdtemp(prefix="materia-phonons-"))
    work.mkdir(parents=True, exist_ok=True)
    if args.fold is not None or args.quick:
        examples, folds = load(args.data)
        for k in chosen if args.fold is None else [args.fold]:
            run_fold(examples, folds, k, settings, work)
    else:
        _run_folds(chosen, work, args)
    if args.fold is None:
        print(json.dumps(summary(work, chosen, settings, args.data)))


def _run_folds(chosen: list[int], work: Path, args: argparse.Namespace) -> None:
    """Every fold that is not finished, ``--jobs`` at a time, each in a process of its own."""
    waiting = [k for k in chosen if not (work / f"fold_{k}.json").exists()]
    running: dict[int, subprocess.Popen[bytes]] = {}
    while waiting or running:
        while waiting and len(running) < args.jobs:
            k = waiting.pop(0)
            own = ["--data", args.data, "--work", work, "--members", args.members, "--epochs", args.epochs, "--fold", k]
            running[k] = subprocess.Popen([sys.executable, __file__, *map(str, own)])
        time.sleep(1)
        for k in [k for k, process in running.items() if process.poll() is not None]:
            if running.pop(k).returncode != 0:
                for process in running.values():
                    process.terminate()
                raise SystemExit(f"fold {k} failed; the same command goes on")


def summary(work: Path, chosen: list[int], settings: SurrogateSettings, data: Path) -> dict[str, Any]:
    found = [json.loads((work / f"fold_{k}.json").read_text()) for k in chosen]
    return {
        "mae_folds": [round(f["mae"], 3) for f in found],
        "mae_mean": round(float(np.mean([f["mae"] for f in found])), 3),
        "mae_mean_one_member": round(float(np.mean([f["mae_single"] for f in found])), 3),
        "median_error": round(float(np.mean([f["median"] for f in found])), 3),
        "rmse_mean": round(float(np.mean([f["rmse"] for f in found])), 3),
        "coverage_90": round(sum(f["coverage_90"] * f["n"] for f in found) / sum(f["n"] for f in found), 4),
        "cpu_minutes": round(sum(f["cpu_s"] for f in found) / 60, 2),
        "parameters": found[0]["parameters"],
        "members": settings.members,
        "settings": settings.model_dump(),
        "seed": "the fold's number",
        "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("materia", "torch", "numpy", "vesin")},
    }


if __name__ == "__main__":
    main()
