"""Fit the cost model of plane-wave jobs to the CPU seconds of the project's own dataset.

    python experiments/cost/run.py

Prints one line a recipe with the coefficients that stand in src/materia/simulation/_cost.py; the last line is one JSON
object with the mean relative errors. The times were taken on a busy two-core machine: read them as +-30 %.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np
from scipy.optimize import nnls

from materia import Dataset
from materia.crystal import Crystal
from materia.resources import resource
from materia.simulation import STANDARD, cost_features, engine, estimate_seconds


def main() -> int:
    program, errors = engine("gpaw"), {}
    for recipe in ("relax", "gap"):
        rows, used, features = [], [], []
        for entry in Dataset.load(resource("data/dataset")):
            structure = entry.initial
            for job in entry.jobs:
                if job.recipe == recipe and job.status == "completed":
                    found = cost_features(structure, STANDARD, program.n_electrons(structure, STANDARD))
                    bands, waves, kpoints = found["n_electrons"] / 2 + 4, found["n_planewaves"], found["n_kpoints"]
                    transforms = kpoints * bands * waves * math.log(waves)
                    rows.append([1.0, kpoints, transforms, kpoints * bands**2 * waves])
                    used.append(float(job.provenance["cpu_s"]))
                    features.append(found)
                if "structure" in job.values:
                    structure = Crystal.from_record(dict(job.values["structure"]))
        matrix, seconds = np.array(rows), np.array(used)
        coefficients, _ = nnls(matrix / seconds[:, None], np.ones(len(seconds)))
        coefficients *= np.median(seconds / (matrix @ coefficients))
        fitted = matrix @ coefficients
        print(recipe, len(seconds), "jobs:", ", ".join(f"{c:.3g}" for c in coefficients))
        errors[recipe] = {
            "n": len(seconds),
            "relative_error_of_fit": float(np.mean(np.abs(fitted / seconds - 1))),
            "relative_error_in_use": float(
                np.mean([abs(estimate_seconds(recipe, f) / s - 1) for f, s in zip(features, seconds, strict=True)])
            ),
        }
    print(json.dumps(errors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
