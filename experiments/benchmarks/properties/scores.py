"""From the steps' predictions to the figures of the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sets

from materia import quantities as q

NAMES = {q.FORMATION_ENERGY_MP: "formation_energy_per_atom_eV", q.GAP_MP: "band_gap_pbe_eV"}  # ours -> the set's field
KEYS = {q.FORMATION_ENERGY_MP: "formation_energy_per_atom", q.GAP_MP: "gap_pbe"}  # ours -> of the result
SMALL = {
    "masses": {q.ELECTRON_MASS: "m_n", q.HOLE_MASS: "m_p"},
    "elastic": {q.BULK_MODULUS: "K_VRH_GPa", q.SHEAR_MODULUS: "G_VRH_GPa"},
    "exfoliation": {q.EXFOLIATION_ENERGY: "exfoliation_energy_meV_per_atom"},
}
LEADERBOARD = 40.89  # meV/atom, JARVIS-Leaderboard's best for dft_3d_exfoliation_energy (matminer_xgboost)
HEAVIEST = 100.0
Values = Mapping[str, float]  # id -> value
Array = np.ndarray


def mae(truth: Array, guess: Array) -> float:
    return round(float(np.abs(truth - guess).mean()), 5)


def balanced_accuracy(metal: Array, said: Array) -> float:
    return round(float((said[metal].mean() + (~said[~metal]).mean()) / 2), 4)


def best_threshold(gap: Array, metal: Array) -> float:
    """The gap (eV) below which to say metal, by balanced accuracy; to be asked of the validation part."""
    tried = np.arange(0.0, 1.001, 0.01)
    return float(tried[int(np.argmax([balanced_accuracy(metal, gap < t) for t in tried]))])


def gap_figures(truth: Array, guess: Array) -> dict[str, float]:
    guess = np.maximum(guess, 0.0)
    return {"mae": mae(truth, guess), "mae_non_metals": mae(truth[truth > 0], guess[truth > 0])}


def read(file: Path) -> Any:
    return json.loads(file.read_text()) if file.exists() else None


def peers_of(work: Path, rows: Mapping[str, Sequence[sets.Row]]) -> dict[str, dict[str, Any]]:
    """Peer -> figures on the test part, from what ``peers.py`` has left."""
    found: dict[str, dict[str, Any]] = {}
    for folder in sorted(path.parent for path in work.glob("*/result.json")):
        ran = read(folder / "result.json")
        apart = ran["peer"] == "alignn" and len(ran["targets"]) == 1  # it was trained in both ways
        peer = found.setdefault(
            "alignn_apart" if apart else ran["peer"], {"cpu_minutes": 0.0, "parameters": ran["parameters"], "runs": []}
        )
        peer["cpu_minutes"] = round(peer["cpu_minutes"] + ran["cpu_s"] / 60, 2)
        kept = (
            "targets",
            "cpu_s",
            "graphs_cpu_s",
            "epochs",
            "steps",
            "batch",
            "best_epoch",
            "validation_mae",
            "versions",
        )
        last = ran["curve"][-1]["validation_mae"]
        half = next(c["validation_mae"] for c in ran["curve"] if c["cpu_s"] >= 0.8 * ran["cpu_s"])
        peer["runs"].append({k: ran[k] for k in kept} | {"validation_mae_at_0.8": half, "validation_mae_at_1": last})
        for target, field in NAMES.items():
            if field not in ran["targets"]:
                continue
            truth, guess = aligned(rows["test"], ran["test"][field], field)
            if target != q.GAP_MP:
                peer[KEYS[target]] = {"mae": mae(truth, guess)}
                continue
            known, told = aligned(rows["validation"], ran["validation"][field], field)
            threshold = best_threshold(told, known == 0)
            said = balanced_accuracy(truth == 0, guess < threshold)
            peer[KEYS[target]] = gap_figures(truth, guess) | {"balanced_accuracy": said, "metal_below_eV": threshold}
    return found


def aligned(rows: Sequence[sets.Row], guesses: Values, field: str) -> tuple[Array, Array]:
    return np.array([row.labels[field] for row in rows]), np.array([guesses[row.id] for row in rows])


def beside(
    own: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]], key: str, cpu_minutes: float
) -> dict[str, Any]:
    """Our figures of one quantity with those of the peers, and how much lower ours is than the best of them."""
    others = {name: peer[key] for name, peer in peers.items() if key in peer}
    found: dict[str, Any] = {**own, "cpu_minutes": cpu_minutes}
    if others:
        best = min(others, key=lambda name: others[name]["mae"])
        found |= {"best_peer": best, "best_peer_mae": others[best]["mae"]}
        found["ratio"] = round(others[best]["mae"] / own["mae"], 3)
        found["peers"] = {n: {**f, "cpu_minutes": peers[n]["cpu_minutes"]} for n, f in others.items()}
    return found


def mp_20(rows: Mapping[str, Sequence[sets.Row]], work: Path, grown: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    trees: dict[str, dict[str, Any]] = {}
    for target, field in NAMES.items():
        for kind, ran in grown.get(target, {}).items():
            truth, guess = aligned(rows["test"], ran["predicted"], field)
            forest = trees.setdefault(f"forest on {kind}", {"cpu_minutes": 0.0})
            forest["cpu_minutes"] = round(ran["cpu_s"] / 60, 2)
            forest[KEYS[target]] = gap_figures(truth, guess) if target == q.GAP_MP else {"mae": mae(truth, guess)}
    for step, folder, into in (("mp_20", "equal", None), ("mp_20_long", "converged", "converged")):
        ran = read(work / f"{step}.json")
        if ran is None:
            continue
        peers = peers_of(work / folder, rows)
        cpu = round(ran["cpu_s"] / 60, 2)
        for target, field in NAMES.items():
            guesses = dict(zip(ran["ids"], ran["predicted"][target], strict=True))
            asked = [row for row in rows["test"] if row.id in guesses]
            truth, guess = aligned(asked, guesses, field)
            own: dict[str, Any] = {"mae": mae(truth, guess)} if target != q.GAP_MP else gap_figures(truth, guess)
            of_all = beside(own, {**peers, **trees}, KEYS[target], cpu)
            if into is None:
                result[KEYS[target]] = of_all
            else:
                result[KEYS[target]][into] = of_all
            if target == q.GAP_MP:
                metals = dict(zip(ran["ids"], ran["predicted"][q.IS_METAL], strict=True))
                said = np.array([metals[row.id] > 0.5 for row in asked])
                classes: dict[str, Any] = {"balanced_accuracy": balanced_accuracy(truth == 0, said), "n": len(asked)}
                others = {n: p[KEYS[target]]["balanced_accuracy"] for n, p in peers.items() if KEYS[target] in p}
                if others:
                    classes |= {"best_peer": max(others, key=others.__getitem__), "peers": others}
                    classes["best_peer_balanced_accuracy"] = max(others.values())
                if into is None:
                    result[q.IS_METAL] = classes
                else:
                    result[q.IS_METAL][into] = classes
        runs = {name: {"parameters": p["parameters"], "runs": p["runs"]} for name, p in peers.items()}
        result["trainings" if into is None else "trainings_converged"] = {"ours": ran["networks"], **runs}
    return result


def hse(data: Path, work: Path, grown: Mapping[str, Any]) -> dict[str, Any]:
    ran = read(work / "hse.json")
    if ran is None:
        return {}
    rows = {row.id: row for row in sets.read(data, "gaps") if "gap_hse_eV" in row.labels}
    asked = [rows[i] for i in ran["ids"]]
    errors: dict[str, list[float]] = {}
    minutes: dict[str, list[float]] = {}
    for run in ran["runs"]:
        guesses = dict(zip(ran["ids"], run["predicted"][q.GAP_HSE06], strict=True))
        errors.setdefault(run["name"], []).append(mae(*aligned(asked, guesses, "gap_hse_eV")))
        minutes.setdefault(run["name"], []).append(round(run["cpu_s"] / 60, 2))
    trees = {
        f"forest on {kind}": {
            q.GAP_HSE06: {"mae": mae(*aligned(asked, of["predicted"], "gap_hse_eV"))},
            "cpu_minutes": round(of["cpu_s"] / 60, 2),
        }
        for kind, of in grown.get(q.GAP_HSE06, {}).items()
    }
    own = {"mae": round(float(np.mean(errors["together"])), 5)}
    own |= {f"mae_{name}": round(float(np.mean(found)), 5) for name, found in errors.items()}
    found = beside(own, trees, q.GAP_HSE06, round(float(np.mean(minutes["together"])), 2))
    by_seed = {name: {"mae": errors[name], "cpu_minutes": minutes[name]} for name in errors}
    return {q.GAP_HSE06: {**found, "by_seed": by_seed, "n": len(asked)}}


def small(data: Path, work: Path, grown: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for step, columns in SMALL.items():
        ran = read(work / f"{step}.json")
        if ran is None:
            continue
        rows = {row.id: row for row in sets.read(data, step)}
        for target, field in columns.items():
            asked = [rows[i] for i in ran["ids"] if field in rows[i].labels]
            guesses = {"ours": dict(zip(ran["ids"], ran["predicted"][target], strict=True))}
            guesses |= {f"forest on {kind}": of["predicted"] for kind, of in grown.get(target, {}).items()}
            figures: dict[str, dict[str, Any]] = {}
            for name, values in guesses.items():
                truth, guess = aligned(asked, values, field)
                if step == "masses":
                    truth = np.minimum(truth, HEAVIEST)
                figures[name] = {"mae_log10": mae(np.log10(truth), np.log10(guess))} if step != "exfoliation" else {}
                figures[name]["mae"] = figures[name]["mae_log10"] if step == "masses" else mae(truth, guess)
            cpu = {f"forest on {kind}": round(of["cpu_s"] / 60, 2) for kind, of in grown.get(target, {}).items()}
            peers: dict[str, Any] = {n: {target: f, "cpu_minutes": cpu[n]} for n, f in figures.items() if n != "ours"}
            if step == "exfoliation":
                peers["JARVIS-Leaderboard (matminer_xgboost)"] = {target: {"mae": LEADERBOARD}, "cpu_minutes": None}
            result[target] = beside(figures["ours"], peers, target, round(ran["cpu_s"] / 60, 2)) | {
                "unit": "decades" if step == "masses" else q.quantity(target).unit,
                "n": len(asked),
            }
    return result


def summary(data: Path, work: Path, quick: bool) -> dict[str, Any]:
    """The figures of whatever has been done in the work folder."""
    grown = {} if quick else (read(work / "forests.json") or {"targets": {}})["targets"]
    every = sets.read(data, "mp_20")
    rows = {part: [row for row in every if row.part == part] for part in ("validation", "test")}
    if quick:
        rows["test"] = rows["validation"]  # the test part is not looked at
    result = mp_20(rows, work, grown)
    if not quick:
        result |= hse(data, work, grown) | small(data, work, grown)
    counts = {part: sum(row.part == part for row in every) for part in ("train", "validation", "test")}
    return {**result, "split": {"mp_20_biternary": counts}}
