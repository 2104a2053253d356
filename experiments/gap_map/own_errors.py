"""What a campaign's own pairs of gaps are worth to the map from PBE to HSE06: how AMPLITUDE and LENGTH were chosen.

    python experiments/gap_map/own_errors.py

On the pairs of PBE and HSE06 gaps with spin-orbit coupling in data/dataset: over ten folds of their formulas, with
a third of the formulas known (six draws), and on the third sample of the ladder benchmark with all others known, log
loss of five windows and mean absolute error of gaps that both leave open. The third sample was computed after amplitude
and length had been chosen. A few seconds. The last line is one JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

import numpy as np

from materia import quantities as q
from materia.crystal import Crystal
from materia.data import Dataset
from materia.resources import resource
from materia.search import GapMap, composition_features, spin_orbit_closing

WINDOWS = ((1.0, 2.2), (0.5, 1.5), (0.8, 1.6), (1.5, 2.5), (1.1, 1.7))
GRID = [(amplitude, length) for amplitude in (0.2, 0.3, 0.45) for length in (0.5, 1.0, 2.0)]
LEAST = 1e-3  # chances below are counted as this
LATER = Path(__file__).parent.parent / "benchmarks" / "ladder" / "third.jsonl"


def later() -> set[str]:
    """Formulas of the third sample."""
    return {Crystal.from_record(json.loads(line)["structure"]).formula for line in LATER.read_text().splitlines()}


def main() -> None:
    crystals, cheap, dear = [], [], []
    for entry in Dataset.load(resource("data/dataset")).computed:
        values = {label.quantity: label.value for label in entry.labels}
        if q.GAP_HSE06_SOC_ON_PBE in values:
            crystals.append(entry.structure)
            cheap.append(values[q.GAP_PBE])
            dear.append(values[q.GAP_HSE06_SOC_ON_PBE])
    x, pbe, hse = composition_features(crystals), np.array(cheap), np.array(dear)
    closing, blur = spin_orbit_closing([crystal.composition for crystal in crystals])
    formulas = np.unique([crystal.formula for crystal in crystals], return_inverse=True)[1]

    def scored(folds: Iterable[np.ndarray], own: bool) -> dict[str, float]:
        """Of each fold, True for what is known, the rest."""
        loss, errors, n = 0.0, [], 0
        for known in folds:
            found = GapMap.shipped()
            if own:
                found = found.recalibrated(x[known], pbe[known], hse[known], closing[known], blur[known])
            rest = ~known & (pbe > 0.01)
            said = found.predict(x[rest], pbe[rest], closing[rest], blur[rest])
            errors += list(np.abs(said.centre - hse[rest])[hse[rest] > 0.01])
            for low, high in WINDOWS:
                inside = (hse[rest] >= low) & (hse[rest] <= high)
                chance = np.clip(said.chance(low, high), LEAST, 1 - LEAST)
                loss -= float(np.log(np.where(inside, chance, 1 - chance)).sum())
            n += int(rest.sum())
        return {"log_loss": round(loss / n / len(WINDOWS), 4), "mae": round(float(np.mean(errors)), 3)}

    rng = np.random.default_rng(0)
    place = rng.permutation(formulas.max() + 1)
    third = later()
    ways = {
        "third_sample": [np.array([crystal.formula not in third for crystal in crystals])],
        "ten_folds": [place[formulas] % 10 != k for k in range(10)],
        "a_third_known": [(rng.random(formulas.max() + 1) < 1 / 3)[formulas] for _ in range(6)],
    }
    result: dict[str, dict[str, object]] = {}
    for way, folds in ways.items():
        result[way] = {"published": scored(folds, own=False)}
        for amplitude, length in GRID:
            with patch.multiple("materia.search._own_errors", AMPLITUDE=amplitude, LENGTH=length):
                result[way][f"{amplitude:g} eV, {length:g}"] = scored(folds, own=True)
        for name, figures in result[way].items():
            print(f"{way:<14} {name:<12} {figures}")
    print(json.dumps({"pairs": len(pbe), **result}))


if __name__ == "__main__":
    main()
