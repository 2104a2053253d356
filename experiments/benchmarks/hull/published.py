"""Whether what is published as stable is thought likelier to be stable than other structures of its kind.

    python experiments/benchmarks/hull/published.py --data FOLDER [--labels 150] [--seeds 3] [--out FILE]

The pool is every candidate of the quickstart's space; surrogates are trained on random structures of the project's
dataset. Judged are unlabelled candidates whose formulas the pretrained weights have not seen: those that are published
within 0.03 eV/atom of the hull, against all others. Others are mostly unstable, some unpublished ones are not, so
the figures compare hulls with each other. The last line printed is one JSON object. What is compared: README.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import tempfile
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition
from scipy.stats import norm, rankdata

from materia.crystal import Crystal, same_phase
from materia.data import Dataset
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.resources import resource
from materia.space import Pool, SpaceSettings, generate
from materia.stability import ExpectedHull, Hull, HullEntry
from materia.surrogate import Example, SurrogateSettings, train

SOURCE = "mp_20_biternary/mp_20_biternary.jsonl.gz"
EXCLUDE = ("toxic", "scarce", "open_shell", "radioactive", "noble_gas")  # the quickstart's
BELOW, STABLE = 0.05, 0.03  # eV/atom: the condition of the quickstart, and what counts as published as stable


def reduced(composition: Any) -> str:
    formula: str = Composition(composition).reduced_formula
    return formula


def rows_by_formula(pool: Pool) -> dict[str, list[int]]:
    found = defaultdict(list)
    for i, composition in enumerate(pool.compositions):
        found[reduced(composition)].append(i)
    return found


def stable(path: Path, pool: Pool, formulas: set[str]) -> set[int]:
    """Rows of the pool that are published near the hull, of these formulas."""
    rows, found = rows_by_formula(pool), set()
    with gzip.open(path, "rt") as lines:
        for row in map(json.loads, lines):
            formula = reduced(Counter(row["structure"]["species"]))
            if formula not in formulas or row["targets"]["e_above_hull_eV"] > STABLE or formula not in rows:
                continue
            crystal = Crystal.from_record(row["structure"])
            found |= {i for i in rows[formula] if same_phase(pool.crystal(i), crystal)}
    return found


def ordered(chance: np.ndarray, positive: np.ndarray) -> tuple[float, int]:
    """(pairs in the right order, pairs): their ratio is the area under the ROC curve (Mann and Whitney)."""
    n = int(positive.sum())
    return float(rankdata(chance)[positive].sum() - n * (n + 1) / 2), n * int((~positive).sum())


def judged(chance: np.ndarray, positive: np.ndarray, prototypes: np.ndarray) -> dict[str, float]:
    right, pairs = ordered(chance, positive)
    inside = [ordered(chance[own], positive[own]) for own in (prototypes == p for p in sorted(set(prototypes)))]
    return {
        "auc": right / pairs,
        "auc_within_prototypes": sum(r for r, _ in inside) / sum(n for _, n in inside),
        "chance_of_stable": float(chance[positive].mean()),
        "chance_of_others": float(chance[~positive].mean()),
    }


def one(pool: Pool, published: set[int], formulas: set[str], n: int, seed: int) -> dict[str, Any]:
    rows = Dataset.load(resource("data/dataset")).computed
    names = (FORMATION_ENERGY, GAP_PBE)
    chosen = [rows[i] for i in np.sort(np.random.default_rng(seed).permutation(len(rows))[:n])]
    examples = [Example(e.initial, {q: e.values()[q] for q in names}, e.formula) for e in chosen]
    with tempfile.TemporaryDirectory() as folder:
        settings = SurrogateSettings(pretrained="base")
        model = train(examples, targets=names, settings=settings, folder=folder, seed=seed, progress=False)
        mean, std = model.predict([c.crystal for c in pool.candidates]).column(FORMATION_ENERGY)
    known = Hull([HullEntry(e.id, e.initial.composition, e.values()[FORMATION_ENERGY]) for e in chosen])
    own: list[str | None] = [None] * len(pool)
    by_formula = rows_by_formula(pool)
    for entry in chosen:
        for i in by_formula.get(reduced(entry.initial.composition), ()):
            if same_phase(pool.crystal(i), entry.initial):
                own[i] = entry.id
    prototypes = np.array(pool.prototypes)
    compositions = pool.compositions
    alone = np.empty(len(pool))
    for prototype in sorted(set(pool.prototypes)):
        part = np.flatnonzero(prototypes == prototype)
        names_here = [own[i] for i in part]
        hull = ExpectedHull(known, [compositions[i] for i in part], mean[part], names=names_here)
        alone[part] = hull.distances()
    distances = {
        "known": mean - known.hull_energies(compositions),
        "prototype": alone,
        "everything": ExpectedHull(known, compositions, mean, names=own).distances(),
    }
    test = np.array([i for f in sorted(formulas) for i in by_formula.get(f, ()) if own[i] is None])
    positive = np.array([i in published for i in test])
    found: dict[str, Any] = {"candidates": len(test), "stable": int(positive.sum())}
    for kind, distance in distances.items():
        found[kind] = judged(norm.cdf((BELOW - distance) / std)[test], positive, prototypes[test])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    formulas = {reduced(f) for f in (resource("experiments") / "dataset_formulas.txt").read_text().split()}
    pool = generate(SpaceSettings(exclude=EXCLUDE))
    published = stable(args.data / SOURCE, pool, formulas)
    runs = []
    for seed in range(args.seeds):
        runs.append(one(pool, published, formulas, args.labels, seed))
        print(seed, runs[-1], flush=True)
    result: dict[str, Any] = {"pool": len(pool), "labels": args.labels, "seeds": args.seeds}
    result |= {key: [run[key] for run in runs] for key in ("candidates", "stable")}
    for kind in ("known", "prototype", "everything"):
        result[kind] = {key: [round(run[kind][key], 3) for run in runs] for key in runs[0][kind]}
        result[kind] |= {f"mean_{key}": round(float(np.mean([r[kind][key] for r in runs])), 3) for key in runs[0][kind]}
    packages = ("materia", "torch", "numpy", "scipy")
    result |= {
        "dataset": Dataset.load(resource("data/dataset")).card["digest"],
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
    }
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
