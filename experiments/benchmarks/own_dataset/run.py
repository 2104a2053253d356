"""The surrogate on the project's own dataset: network, Gaussian process over it, composition-only forest, mean.

    python experiments/benchmarks/own_dataset/run.py [--repeats 3] [--folds 5] [--pretrained base|none] [--quick]

Repeated cross-validation in which no formula is on both sides. All models see the structure before
relaxation and predict the label of the relaxed one. The last line printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from materia.data import Dataset
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.resources import resource
from materia.surrogate import Example, SurrogateSettings, element_features, train

TARGETS = (FORMATION_ENERGY, GAP_PBE)
Array = np.ndarray


def load_examples(folder: Path) -> list[Example]:
    """Every computed entry that has at least one of the targets."""
    rows = []
    for entry in Dataset.load(folder).computed:
        known = {name: value for name, value in entry.values().items() if name in TARGETS}
        if known:
            rows.append(Example(entry.initial, known, entry.formula))
    return rows


def composition_features(examples: Sequence[Example]) -> Array:
    """(n, 112): mean, spread, least, greatest and range of 22 tabulated features, and two norms of the fractions."""
    table = element_features().numpy()
    rows = []
    for example in examples:
        numbers, counts = np.unique(example.crystal.numbers, return_counts=True)
        share, values = counts / counts.sum(), table[numbers]
        mean = share @ values
        spread = np.sqrt(share @ (values - mean) ** 2)
        low, high = values.min(0), values.max(0)
        norms = [np.linalg.norm(share), float(len(share))]
        rows.append(np.concatenate([mean, spread, low, high, high - low, norms]))
    return np.array(rows)


def truth(examples: Sequence[Example], name: str) -> Array:
    return np.array([e.targets.get(name, np.nan) for e in examples])


def fold_of(groups: Sequence[str], folds: int, seed: int) -> Array:
    """(n,) fold of each row; formulas dealt out at random."""
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    home = {names[i]: place % folds for place, i in enumerate(order)}
    return np.array([home[g] for g in groups])


def forest(x: Array, y: Array, x_test: Array, seed: int) -> Array:
    known = ~np.isnan(y)
    model = ExtraTreesRegressor(n_estimators=500, random_state=seed, n_jobs=1)
    return np.asarray(model.fit(x[known], y[known]).predict(x_test))


def bootstrap(difference: dict[str, float], draws: int = 5000, seed: int = 0) -> dict[str, float]:
    """Mean of per-formula differences with a 95 % interval over formulas."""
    values = np.array(list(difference.values()))
    sample = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[sample].mean(1), [0.025, 0.975])
    return {"mean": round(float(values.mean()), 5), "low": round(float(low), 5), "high": round(float(high), 5)}


def per_formula(errors: Array, examples: Sequence[Example]) -> dict[str, float]:
    """Mean of the known errors (n,) of each formula."""
    found: dict[str, list[float]] = {}
    for error, example in zip(errors, examples, strict=True):
        if not np.isnan(error):
            found.setdefault(example.group, []).append(float(error))
    return {group: float(np.mean(values)) for group, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="dataset folder (default: the shipped one)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--pretrained", default="base", help="'base', a model folder, or 'none'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="within a minute: one repeat, three folds, two members")
    args = parser.parse_args()
    started = time.perf_counter()

    data = args.data or resource("data/dataset")
    examples = load_examples(data)
    settings = SurrogateSettings(pretrained=None if args.pretrained == "none" else args.pretrained)
    repeats, folds = args.repeats, args.folds
    if args.quick:
        repeats, folds = 1, 3
        settings = settings.model_copy(update={"members": 2})

    features = composition_features(examples)
    labels = {name: truth(examples, name) for name in TARGETS}
    groups = [e.group for e in examples]
    shape = (repeats, len(examples))
    learned = {"network": settings}
    if settings.pretrained is not None:  # trained networks to read out
        learned["gaussian_process"] = SurrogateSettings(readout="gaussian_process")
        learned["process_alone"] = SurrogateSettings(readout="gaussian_process", trees=0)
    error = {(m, t): np.full(shape, np.nan) for m in (*learned, "composition", "mean") for t in TARGETS}
    inside = {(m, t): np.full(shape, np.nan) for m in learned for t in TARGETS}
    spent = dict.fromkeys(learned, 0.0)
    for repeat in range(repeats):
        fold = fold_of(groups, folds, args.seed + repeat)
        for k in range(folds):
            train_rows, test_rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            for method, options in learned.items():
                began = time.process_time()
                with tempfile.TemporaryDirectory() as folder:
                    model = train(
                        [examples[i] for i in train_rows],
                        targets=TARGETS,
                        settings=options,
                        folder=folder,
                        seed=args.seed + 100 * repeat + k,
                        progress=False,
                        population=[example.crystal for example in examples],
                    )
                spent[method] += time.process_time() - began
                predicted = model.predict([examples[i].crystal for i in test_rows])
                for name in TARGETS:
                    y = labels[name][test_rows]
                    mean, std = predicted.column(name)
                    error[method, name][repeat, test_rows] = np.abs(mean - y)
                    held = np.abs(mean - y) <= 1.645 * std
                    inside[method, name][repeat, test_rows] = np.where(np.isnan(y), np.nan, held)
            for name in TARGETS:
                y = labels[name]
                trees = forest(features[train_rows], y[train_rows], features[test_rows], args.seed + repeat)
                error["composition", name][repeat, test_rows] = np.abs(trees - y[test_rows])
                error["mean", name][repeat, test_rows] = np.abs(np.nanmean(y[train_rows]) - y[test_rows])
            print(f"repeat {repeat} fold {k}: {time.perf_counter() - started:.0f} s", flush=True)

    result: dict[str, dict[str, object]] = {}
    for name in TARGETS:
        network, composition, mean_error = (error[m, name].mean(0) for m in ("network", "composition", "mean"))
        formulas = {m: per_formula(e, examples) for m, e in (("n", network), ("c", composition), ("m", mean_error))}
        result[name] = {
            "mae": round(float(np.nanmean(network)), 5),
            "mae_mean": round(float(np.nanmean(mean_error)), 5),
            "mae_composition": round(float(np.nanmean(composition)), 5),
            "n": int((~np.isnan(labels[name])).sum()),
            "n_formulas": len(formulas["n"]),
            "median_error": round(float(np.nanmedian(network)), 5),
            "coverage_90": round(float(np.nanmean(inside["network", name])), 4),
            "difference_to_composition": bootstrap({g: formulas["n"][g] - formulas["c"][g] for g in formulas["n"]}),
            "difference_to_mean": bootstrap({g: formulas["n"][g] - formulas["m"][g] for g in formulas["n"]}),
        }
        for method in learned:
            if method == "network":
                continue
            process = error[method, name].mean(0)
            each = per_formula(process, examples)
            result[name][method] = {
                "mae": round(float(np.nanmean(process)), 5),
                "median_error": round(float(np.nanmedian(process)), 5),
                "coverage_90": round(float(np.nanmean(inside[method, name])), 4),
                "difference_to_network": bootstrap({g: each[g] - formulas["n"][g] for g in each}),
                "difference_to_composition": bootstrap({g: each[g] - formulas["c"][g] for g in each}),
            }
    result["protocol"] = {
        "repeats": repeats,
        "folds": folds,
        "pretrained": args.pretrained,
        "dataset": json.loads((Path(data) / "card.json").read_text())["digest"],
        "members": settings.members,
        "epochs": settings.epochs,
        "seconds": round(time.perf_counter() - started),
        "cpu_s_training": {method: round(s / (repeats * folds), 1) for method, s in spent.items()},
        "seed": args.seed,
    }
    result["machine"] = {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()}
    result["versions"] = {name: version(name).partition("+")[0] for name in ("torch", "e3nn", "scikit-learn", "numpy")}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
