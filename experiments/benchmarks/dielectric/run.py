"""The tensor head on electronic dielectric tensors: the full tensor against its own mean times the identity.

    python experiments/benchmarks/dielectric/run.py --data FOLDER [--folds 5] [--members 2] [--epochs 40] [--quick]

FOLDER holds ``petousis_dielectric.jsonl.gz`` (one record a line: id, structure, targets). Cross-validation in which
no formula is on both sides, from random weights. The last line printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from materia.crystal import Crystal
from materia.data import read_labelled
from materia.quantities import DIELECTRIC_ELECTRONIC, Form
from materia.surrogate import Example, Surrogate, SurrogateSettings, train

FILE, COLUMN = "petousis_dielectric.jsonl.gz", "eps_electronic_tensor"
ANISOTROPIC = 0.05  # difference of the extreme eigenvalues over their mean
Array = np.ndarray


def fold_of(groups: Sequence[str], folds: int, seed: int) -> Array:
    """(n,) fold of each row; formulas dealt out at random."""
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    home = {names[i]: place % folds for place, i in enumerate(order)}
    return np.array([home[g] for g in groups])


def isotropic(tensors: Array) -> Array:
    """(n, 3, 3) the mean of the eigenvalues times the identity."""
    return np.trace(tensors, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)


def summary(errors: Array) -> dict[str, float]:
    return {"mean": round(float(errors.mean()), 4), "median": round(float(np.median(errors)), 4)}


def reduction(full: Array, flat: Array, draws: int = 5000, seed: int = 0) -> dict[str, float]:
    """One minus the ratio of the mean errors, with a 95 % bootstrap interval over structures."""
    rows = np.random.default_rng(seed).integers(0, len(full), (draws, len(full)))
    low, high = np.quantile(1 - full[rows].mean(1) / flat[rows].mean(1), [0.025, 0.975])
    found = {"mean": 1 - full.mean() / flat.mean(), "low": low, "high": high}
    found["median"] = 1 - np.median(full) / np.median(flat)
    return {name: round(float(value), 4) for name, value in found.items()}


def equivariance(model: Surrogate, crystals: Sequence[Crystal], seed: int) -> float:
    """Largest relative difference between the tensor of a turned crystal and the turned tensor."""
    turn = Rotation.random(random_state=seed).as_matrix()
    turned = [Crystal(c.lattice @ turn.T, c.numbers, c.frac_coords) for c in crystals]
    before, after = (model.predict(part).tensors[DIELECTRIC_ELECTRONIC] for part in (crystals, turned))
    return float(
        (np.linalg.norm(after - turn @ before @ turn.T, axis=(1, 2)) / np.linalg.norm(before, axis=(1, 2))).max()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"folder of {FILE}")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="within a minute: one fold, one member, 8 epochs")
    args = parser.parse_args()
    started = time.perf_counter()

    found = read_labelled(args.data / FILE, {DIELECTRIC_ELECTRONIC: COLUMN}, {DIELECTRIC_ELECTRONIC: Form.TENSOR})
    examples = [Example(row.crystal, row.values, row.crystal.formula) for row in found.rows]
    settings = SurrogateSettings(
        channels=48,
        layers=3,
        members=1 if args.quick else args.members,
        folds=10,  # a member learns from nine tenths of the training part; the others calibrate
        epochs=8 if args.quick else args.epochs,
        batch_size=32,
        learning_rate=4e-3,
        ema=0.995,
        strain=0.0,
        rattle=0.0,
        pretrained=None,
        device="cpu",
    )
    groups = [e.group for e in examples]
    fold = fold_of(groups, args.folds, args.seed)
    truth = np.array([e.targets[DIELECTRIC_ELECTRONIC] for e in examples])
    full, flat, oracle = (np.full(len(examples), np.nan) for _ in range(3))
    mean_error, inside = np.full(len(examples), np.nan), np.full(len(examples), np.nan)
    least, turned, cards = np.inf, 0.0, []
    oracle[:] = np.linalg.norm(isotropic(truth) - truth, axis=(1, 2))
    for k in range(1 if args.quick else args.folds):
        train_rows, test_rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        with tempfile.TemporaryDirectory() as folder:
            model = train(
                [examples[i] for i in train_rows],
                targets=[DIELECTRIC_ELECTRONIC],
                settings=settings,
                folder=folder,
                seed=args.seed + k,
                progress=False,
            )
        crystals = [examples[i].crystal for i in test_rows]
        predicted = model.predict(crystals)
        tensors, (lower, upper) = predicted.tensors[DIELECTRIC_ELECTRONIC], predicted.interval(DIELECTRIC_ELECTRONIC)
        means = np.trace(truth[test_rows], axis1=1, axis2=2) / 3
        full[test_rows] = np.linalg.norm(tensors - truth[test_rows], axis=(1, 2))
        flat[test_rows] = np.linalg.norm(isotropic(tensors) - truth[test_rows], axis=(1, 2))
        mean_error[test_rows] = np.abs(predicted.column(DIELECTRIC_ELECTRONIC)[0] - means)
        inside[test_rows] = (lower <= means) & (means <= upper)
        least = min(least, float(np.linalg.eigvalsh(tensors).min()))
        turned = max(turned, equivariance(model, crystals[:40], args.seed + k))
        cards.append(model.card["validation"][DIELECTRIC_ELECTRONIC])
        print(f"fold {k}: {time.perf_counter() - started:.0f} s", summary(full[test_rows]), cards[-1], flush=True)

    done = ~np.isnan(full)
    eigenvalues, size = np.linalg.eigvalsh(truth), np.linalg.norm(truth, axis=(1, 2))
    anisotropic = (eigenvalues[:, 2] - eigenvalues[:, 0]) / eigenvalues.mean(1) > ANISOTROPIC
    result: dict[str, object] = {}
    for name, rows in (("all", done), ("anisotropic", done & anisotropic)):
        result[name] = {
            "n": int(rows.sum()),
            "frobenius": summary(full[rows]),
            "frobenius_isotropic": summary(flat[rows]),
            "frobenius_isotropic_oracle": summary(oracle[rows]),
            "reduction": reduction(full[rows], flat[rows]),
            "relative": summary(full[rows] / size[rows]),
            "relative_isotropic": summary(flat[rows] / size[rows]),
            "reduction_relative": reduction(full[rows] / size[rows], flat[rows] / size[rows]),
        }
    result["mean_eigenvalue"] = {
        "mae": round(float(mean_error[done].mean()), 4),
        "median_error": round(float(np.median(mean_error[done])), 4),
        "coverage_90": round(float(inside[done].mean()), 4),
    }
    result["least_eigenvalue"] = round(least, 4)
    result["equivariance_error_float32"] = float(f"{turned:.2g}")
    result["data"] = {
        "file": FILE,
        "sha256": hashlib.sha256((args.data / FILE).read_bytes()).hexdigest(),
        "n": len(examples),
        "n_quarantined": len(found.quarantine),
        "n_symmetrised": found.symmetrised,
    }
    result["protocol"] = {
        "folds": args.folds,
        "folds_run": 1 if args.quick else args.folds,
        "seed": args.seed,
        "settings": settings.model_dump(),
        "seconds": round(time.perf_counter() - started),
        "cpu_minutes": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime / 60, 1),
    }
    result["machine"] = {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()}
    result["versions"] = {name: version(name).partition("+")[0] for name in ("torch", "e3nn", "spglib", "numpy")}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
