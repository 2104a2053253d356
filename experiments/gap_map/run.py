"""Train the map from PBE gaps to HSE06 gaps that ships: data/weights/gap_map.

    python experiments/gap_map/run.py --data FOLDER [--out data/weights/gap_map]

FOLDER holds ``multifidelity_gaps/multifidelity_gaps.jsonl.gz`` (one record a line: id, structure, targets). Every
reduced formula of the project's own dataset is left out. The last line printed is the card's validation.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from materia.crystal import Crystal
from materia.elements import OPEN_SHELL
from materia.search import GapMap, composition_features
from materia.search._gap_map import CLOSED, forward, inputs

HERE = Path(__file__).parent
SOURCE = "multifidelity_gaps/multifidelity_gaps.jsonl.gz"
MEMBERS, HIDDEN, PENALTY, EPOCHS = 5, (64, 64), 1.0, 60  # chosen by the mean error over the folds
CLOSED_PENALTY = 0.01  # scikit-learn's C, chosen by the log loss over the folds
FOLDS, QUANTILES = 10, 199
OPENED = 0.05  # eV: an HSE06 gap from here on counts as open
WINDOWS = ((0.8, 1.3), (1.1, 1.7), (1.7, 2.4), (2.6, 3.4))


def read(path: Path, exclude: set[str]) -> dict[str, Any]:
    """Closed-shell crystals of which both gaps are published."""
    crystals, pbe, hse = [], [], []
    with gzip.open(path, "rt") as lines:
        for row in map(json.loads, lines):
            gaps = (row["targets"].get("gap_pbe_eV"), row["targets"].get("gap_hse_eV"))
            if None in gaps or set(row["structure"]["species"]) & OPEN_SHELL:
                continue
            crystal = Crystal.from_record(row["structure"])
            if Composition(crystal.formula).reduced_formula not in exclude:
                crystals.append(crystal)
                pbe.append(gaps[0])
                hse.append(gaps[1])
    formulas = [crystal.formula for crystal in crystals]
    x = composition_features(crystals).astype(float)
    return {"x": x, "pbe": np.array(pbe, float), "hse": np.array(hse, float), "formulas": np.array(formulas)}


def fit(x: np.ndarray, pbe: np.ndarray, hse: np.ndarray) -> dict[str, np.ndarray]:
    """Networks for open gaps, a logistic regression for closed ones; no errors yet."""
    is_open = pbe > CLOSED
    scaler = StandardScaler().fit(inputs(x[is_open], pbe[is_open]))
    networks = [
        MLPRegressor(
            hidden_layer_sizes=HIDDEN, alpha=PENALTY, max_iter=EPOCHS, learning_rate_init=2e-3, random_state=k
        ).fit(scaler.transform(inputs(x[is_open], pbe[is_open])), (hse - pbe)[is_open])
        for k in range(MEMBERS)
    ]
    arrays = {"mean": scaler.mean_, "spread": scaler.scale_}
    for layer in range(len(HIDDEN) + 1):
        arrays[f"w{layer}"] = np.array([network.coefs_[layer] for network in networks])
        arrays[f"b{layer}"] = np.array([network.intercepts_[layer] for network in networks])
    closed = StandardScaler().fit(x[~is_open])
    opens = LogisticRegression(C=CLOSED_PENALTY, max_iter=5000).fit(
        closed.transform(x[~is_open]), hse[~is_open] > OPENED
    )
    arrays |= {"closed_mean": closed.mean_, "closed_spread": closed.scale_}
    return arrays | {"closed_weights": opens.coef_[0], "closed_bias": opens.intercept_[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "data/weights/gap_map")
    parser.add_argument("--exclude", type=Path, default=HERE.parent / "dataset_formulas.txt")
    args = parser.parse_args()
    exclude = {Composition(name).reduced_formula for name in args.exclude.read_text().split()}
    pairs = read(args.data / SOURCE, exclude)
    x, pbe, hse = pairs["x"], pairs["pbe"], pairs["hse"]
    is_open, opened = pbe > CLOSED, (pbe <= CLOSED) & (hse > OPENED)

    folds = list(GroupKFold(FOLDS).split(x, groups=pairs["formulas"]))
    fitted = [fit(x[known], pbe[known], hse[known]) for known, _ in folds]
    centre, variance = np.zeros(len(x)), np.zeros(len(x))
    for arrays, (_, unseen) in zip(fitted, folds, strict=True):
        members = forward(arrays, (inputs(x[unseen], pbe[unseen]) - arrays["mean"]) / arrays["spread"])
        centre[unseen], variance[unseen] = pbe[unseen] + members.mean(0), members.var(0)
    squares = np.minimum((hse - centre) ** 2, 0.5)[is_open]  # a few pairs are of different phases
    slope = max(float(np.cov(variance[is_open], squares)[0, 1] / variance[is_open].var()), 0.0)
    floor = np.sqrt(max(squares.mean() - slope * variance[is_open].mean(), 0.1 * squares.mean()))
    scale = np.sqrt(floor**2 + slope * variance)
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    beyond = {
        "floor": np.array(floor),
        "slope": np.array(np.sqrt(slope)),
        "errors": np.quantile(((hse - centre) / scale)[is_open], levels),
        "opened": np.quantile(hse[opened], levels),
    }
    fitted = [arrays | beyond for arrays in fitted]
    error = np.abs(hse - centre)[is_open]
    validation = {
        "mae": round(float(error.mean()), 4),
        "median": round(float(np.median(error)), 4),
        "n_open": int(is_open.sum()),
        "n_closed": int((~is_open).sum()),
        "n_opened": int(opened.sum()),
        "windows": {},
    }
    for low, high in WINDOWS:
        chance = np.zeros(len(x))
        for arrays, (_, unseen) in zip(fitted, folds, strict=True):
            chance[unseen] = GapMap(arrays, {}).predict(x[unseen], pbe[unseen]).chance(low, high)
        inside = (hse >= low) & (hse <= high)
        bins = [(0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1.01)]
        rows = [(chance >= a) & (chance < b) for a, b in bins]
        validation["windows"][f"{low} to {high} eV"] = {
            "inside": int(inside.sum()),
            "inside_under_5_percent": int(inside[chance < 0.05].sum()),
            "share_under_5_percent": round(float((chance < 0.05).mean()), 3),
            "predicted_and_found": [
                [round(float(chance[r].mean()), 3), round(float(inside[r].mean()), 3)] for r in rows
            ],
        }
    arrays = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in (fit(x, pbe, hse) | beyond).items()}
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(arrays, args.out / "weights.safetensors")
    card = {
        "name": "gap_map",
        "purpose": "HSE06 gap from PBE gap and composition, closed-shell crystals",
        "licence": "CC BY 4.0",
        "credit": "Trained on PBE and HSE06 gaps of the Materials Project (CC BY 4.0): A. Jain et al., APL Materials "
        "1, 011002 (2013), as collected by C. Chen et al., Nature Computational Science 1, 46 (2021).",
        "data": {SOURCE: hashlib.sha256((args.data / SOURCE).read_bytes()).hexdigest()},
        "excluded_formulas": sorted(exclude),
        "settings": {"members": MEMBERS, "hidden": HIDDEN, "penalty": PENALTY, "epochs": EPOCHS, "folds": FOLDS},
        "n_train": len(x),
        "validation_split": "ten folds of the reduced formulas",
        "validation": validation,
    }
    (args.out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(validation))


if __name__ == "__main__":
    main()
