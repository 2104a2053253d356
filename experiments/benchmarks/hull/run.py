"""How well distances to the hull are predicted, from computed phases alone and with expected ones.

    python experiments/benchmarks/hull/run.py [--labels 60 120 180] [--seeds 5] [--out FILE]
    python experiments/benchmarks/hull/run.py --quick      # within a minute: 60 labels, one seed

Random structures of the project's dataset are labelled, the surrogate of campaigns is trained on them, and the
distances of all others are predicted; once more in a space of a single prototype, with and without its rivals. The
truth is the distance to the hull of all other structures of the dataset. The last line printed is one JSON object.
What is compared: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from materia.data import Dataset
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.resources import resource
from materia.stability import ExpectedHull, Hull, HullEntry
from materia.surrogate import Example, SurrogateSettings, train

BELOW = 0.05  # eV/atom: the condition of the quickstart
Z90 = 1.6449
NARROW, NARROW_LABELS = "half-heusler", 50


def distances(
    entries: list[HullEntry], labelled: np.ndarray, mean: np.ndarray, space: np.ndarray
) -> dict[str, np.ndarray]:
    """Predicted distances of the structures of a space, by kind of hull; ``rivals`` only where it is not everything."""
    known = Hull([entries[i] for i in labelled])
    compositions = [e.composition for e in entries]
    there = set(labelled.tolist())
    names = [e.name if i in there else None for i, e in enumerate(entries)]

    def expected(rows: np.ndarray) -> np.ndarray:
        hull = ExpectedHull(known, [compositions[i] for i in rows], mean[rows], names=[names[i] for i in rows])
        return hull.distances()

    found = {
        "known": mean[space] - known.hull_energies([compositions[i] for i in space]),
        "expected": expected(space),
    }
    if len(space) < len(entries):
        beside = np.setdiff1d(np.arange(len(entries)), space)
        found["rivals"] = expected(np.concatenate([space, beside]))[: len(space)]
    return found


def judged(predicted: np.ndarray, std: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    error, meets = predicted - truth, truth < BELOW
    chance = norm.cdf((BELOW - predicted) / std)
    rank, n = rankdata(chance), int(meets.sum())
    return {
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "coverage_90": float((np.abs(error) <= Z90 * std).mean()),
        "brier": float(((chance - meets) ** 2).mean()),
        # area under the ROC curve (Mann and Whitney): how often who meets the condition is thought the likelier one
        "auc": float((rank[meets].sum() - n * (n + 1) / 2) / (n * (len(meets) - n))),
    }


def one(n: int, seed: int, prototype: str | None = None) -> dict[str, dict[str, float]]:
    rows = Dataset.load(resource("data/dataset")).computed
    names = (FORMATION_ENERGY, GAP_PBE)
    examples = [Example(e.initial, {q: e.values()[q] for q in names}, e.formula) for e in rows]
    energies = [e.targets[FORMATION_ENERGY] for e in examples]
    entries = [HullEntry(r.id, r.initial.composition, float(e)) for r, e in zip(rows, energies, strict=True)]
    whole = Hull(entries)
    below = whole.hull_energies([e.composition for e in entries], exclude=[e.name for e in entries])
    truth = np.array(energies) - below
    space = np.array([i for i, row in enumerate(rows) if prototype in (None, row.prototype)])
    labelled = np.sort(np.random.default_rng(seed).permutation(space)[:n])
    with tempfile.TemporaryDirectory() as folder:
        settings = SurrogateSettings(pretrained="base")
        chosen = [examples[i] for i in labelled]
        model = train(chosen, targets=names, settings=settings, folder=folder, seed=seed, progress=False)
        mean, std = model.predict([e.crystal for e in examples]).column(FORMATION_ENERGY)
    found = distances(entries, labelled, mean, space)
    rest = ~np.isin(space, labelled)
    left = space[rest]
    return {kind: judged(predicted[rest], std[left], truth[left]) for kind, predicted in found.items()}


def summed_up(runs: list[dict[str, dict[str, float]]], cpu_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"cpu_s": round(cpu_s / len(runs), 1)}
    for kind in runs[0]:
        columns = {key: np.array([run[kind][key] for run in runs]) for key in runs[0][kind]}
        row[kind] = {key: round(float(c.mean()), 3) for key, c in columns.items()}
        row[kind]["mae_by_seed"] = [round(float(x), 3) for x in columns["mae"]]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[60, 120, 180])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    labels, seeds = ([60], 1) if args.quick else (args.labels, args.seeds)
    result: dict[str, Any] = {"dataset": Dataset.load(resource("data/dataset")).card["digest"], "seeds": seeds}
    parts = [(str(n), n, None) for n in labels]
    if not args.quick:
        parts.append((f"{NARROW}_{NARROW_LABELS}", NARROW_LABELS, NARROW))
    for name, n, prototype in parts:
        began = time.process_time()
        runs = [one(n, seed, prototype) for seed in range(seeds)]
        result[name] = summed_up(runs, time.process_time() - began)
        print(name, result[name], flush=True)
    packages = ("materia", "torch", "numpy", "scipy")
    result |= {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
    }
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
