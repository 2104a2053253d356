"""From the steps' predictions to the figures of the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sets

from materia import quantities as q

Array = np.ndarray
Rows = Sequence[sets.Row]
FIELDS = {q.FORMATION_ENERGY_MP: "formation_energy_per_atom_eV", q.GAP_MP: "band_gap_pbe_eV"}
KEYS = {q.FORMATION_ENERGY_MP: "formation_energy_per_atom", q.GAP_MP: "gap_pbe"}  # ours -> of the result
SMALL = {
    "masses": {q.ELECTRON_MASS: "m_n", q.HOLE_MASS: "m_p"},
    "elastic": {q.BULK_MODULUS: "K_VRH_GPa", q.SHEAR_MODULUS: "G_VRH_GPa"},
    "exfoliation": {q.EXFOLIATION_ENERGY: "exfoliation_energy_meV_per_atom"},
}
LEADERBOARD = 40.89  # meV/atom, JARVIS-Leaderboard's best for dft_3d_exfoliation_energy (matminer_xgboost)
HEAVIEST = 100.0  # m_e: heavier labels count as this, for everybody
DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Guess:
    """What one contender says of the structures asked, and what learning it has cost.

    Attributes:
        values: (n,) predictions.
        cpu_minutes: of its training.
        extra: further figures of it.
    """

    values: Array
    cpu_minutes: float
    extra: Mapping[str, Any]


def mae(truth: Array, guess: Array) -> float:
    return round(float(np.abs(truth - guess).mean()), 5)


def balanced_accuracy(metal: Array, said: Array) -> float:
    return round(float((said[metal].mean() + (~said[~metal]).mean()) / 2), 4)


def best_threshold(gap: Array, metal: Array) -> float:
    """The gap (eV) below which to say metal, by balanced accuracy; to be asked of the validation part."""
    tried = np.arange(0.0, 1.001, 0.01)
    return float(tried[int(np.argmax([balanced_accuracy(metal, gap < t) for t in tried]))])


def ratio_interval(ours: Array, theirs: Array) -> list[float]:
    """95 % interval of the ratio of mean errors, theirs over ours; structures are drawn with replacement."""
    draw = np.random.default_rng(0)
    ratios = []
    for _ in range(DRAWS):
        rows = draw.integers(len(ours), size=len(ours))
        ratios.append(theirs[rows].mean() / ours[rows].mean())
    return [round(float(end), 3) for end in np.quantile(ratios, [0.025, 0.975])]


def compare(truth: Array, own: Guess, peers: Mapping[str, Guess], scale: Callable[[Array], Array]) -> dict[str, Any]:
    """Our figures beside those of the peers, and how many times lower our mean error is than the best of theirs.

    Args:
        truth: (n,) labels.
        own, peers: predictions.
        scale: what labels and predictions are put through before they are judged.
    """

    def error(guess: Guess) -> Array:
        return np.abs(scale(truth) - scale(guess.values))

    def figures(guess: Guess) -> dict[str, Any]:
        found = {"mae": round(float(error(guess).mean()), 5), "cpu_minutes": guess.cpu_minutes}
        return {**found, **guess.extra}

    result = figures(own)
    if peers:
        best = min(peers, key=lambda name: error(peers[name]).mean())
        result |= {"best_peer": best, "best_peer_mae": round(float(error(peers[best]).mean()), 5)}
        result["ratio"] = round(float(error(peers[best]).mean() / error(own).mean()), 3)
        result["ratio_95"] = ratio_interval(error(own), error(peers[best]))
        result["peers"] = {name: figures(peer) for name, peer in peers.items()}
    return result | {"n": len(truth)}


def mean_error(truth: Array, guesses: Sequence[Guess]) -> Array:
    """(n,) errors of each structure, mean over the guesses."""
    return np.mean([np.abs(truth - positive(g.values)) for g in guesses], axis=0)


def plain(values: Array) -> Array:
    return values


def positive(values: Array) -> Array:
    return np.maximum(values, 0.0)


def labels(rows: Rows, field: str) -> Array:
    return np.array([row.labels[field] for row in rows], dtype=np.float64)


def at(rows: Rows, values: Mapping[str, float]) -> Array:
    return np.array([values[row.id] for row in rows], dtype=np.float64)


def read(file: Path) -> Any:
    return json.loads(file.read_text()) if file.exists() else None


def minutes(seconds: float) -> float:
    return round(seconds / 60, 2)


def forests_of(grown: Mapping[str, Any], target: str, rows: Rows) -> dict[str, Guess]:
    return {
        f"forest on {kind}": Guess(at(rows, ran["predicted"]), minutes(ran["cpu_s"]), {})
        for kind, ran in grown.get(target, {}).items()
    }


def networks_of(work: Path, validation: Rows, test: Rows) -> tuple[dict[str, dict[str, Guess]], dict[str, Any]]:
    """Target -> peer -> predictions, from what ``peers.py`` has left, and how the trainings went."""
    guesses: dict[str, dict[str, Guess]] = {target: {} for target in FIELDS}
    trainings: dict[str, Any] = {}
    ran = {path.parent.name: read(path) for path in sorted(work.glob("*/result.json"))}
    for folder, run in ran.items():
        name = "alignn_apart" if run["peer"] == "alignn" and len(run["targets"]) == 1 else run["peer"]
        peer_s = sum(
            r["cpu_s"] for f, r in ran.items() if r["peer"] == run["peer"] and len(r["targets"]) == len(run["targets"])
        )
        for target, field in FIELDS.items():
            if field not in run["targets"]:
                continue
            extra = {}
            guess = at(test, run["test"][field])
            if target == q.GAP_MP:
                metal = labels(test, field) == 0
                threshold = best_threshold(at(validation, run["validation"][field]), labels(validation, field) == 0)
                extra = gap_figures(labels(test, field), guess)
                extra |= {"balanced_accuracy": balanced_accuracy(metal, guess < threshold), "metal_below_eV": threshold}
            guesses[target][name] = Guess(guess, minutes(peer_s), extra)
        kept = (
            "targets",
            "cpu_s",
            "graphs_cpu_s",
            "epochs",
            "steps",
            "batch",
            "parameters",
            "validation_mae",
            "best_epoch",
        )
        tenths = [next(c for c in run["curve"] if c["cpu_s"] >= x * run["cpu_s"]) for x in (0.5, 0.8, 1.0)]
        trainings[folder] = {k: run[k] for k in (*kept, "versions")} | {"validation_at_0.5_0.8_1": tenths}
    return guesses, trainings


def gap_figures(truth: Array, guess: Array) -> dict[str, float]:
    return {"mae_non_metals": mae(truth[truth > 0], positive(guess)[truth > 0])}


def mp_20(validation: Rows, test: Rows, work: Path, grown: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for step, folder, key in (("mp_20", "equal", ""), ("mp_20_long", "converged", "converged")):
        ran = read(work / f"{step}.json")
        if ran is None:
            continue
        asked = [row for row in test if row.id in set(ran["ids"])]
        peers, trainings = networks_of(work / folder, validation, asked)
        for target, field in FIELDS.items():
            truth = labels(asked, field)
            values = at(asked, dict(zip(ran["ids"], ran["predicted"][target], strict=True)))
            trees = forests_of(grown, target, asked)
            extra: dict[str, Any] = {}
            if target == q.GAP_MP:
                extra = gap_figures(truth, values)
                trees = {n: Guess(g.values, g.cpu_minutes, gap_figures(truth, g.values)) for n, g in trees.items()}
            own = Guess(values, minutes(ran["cpu_s"]), extra)
            scale = positive if target == q.GAP_MP else plain
            found = compare(truth, own, {**peers[target], **trees}, scale)
            into = result.setdefault(KEYS[target], {})
            into |= {key: found} if key else found
        metal = labels(asked, FIELDS[q.GAP_MP]) == 0
        said = at(asked, dict(zip(ran["ids"], ran["predicted"][q.IS_METAL], strict=True))) > 0.5
        classes: dict[str, Any] = {"balanced_accuracy": balanced_accuracy(metal, said), "n": len(asked)}
        others = {name: peer.extra["balanced_accuracy"] for name, peer in peers[q.GAP_MP].items()}
        if others:
            best = max(others, key=others.__getitem__)
            classes |= {"best_peer": best, "best_peer_balanced_accuracy": others[best], "peers": others}
        result.setdefault(q.IS_METAL, {}).update({key: classes} if key else classes)
        result[f"trainings_{folder}"] = {"ours": ran["networks"], **trainings}
    return result


def hse(data: Path, work: Path, grown: Mapping[str, Any]) -> dict[str, Any]:
    """HSE06 gaps, learned with those of PBE and GLLB-SC and without: errors of one network, mean over seeds."""
    ran = read(work / "hse.json")
    if ran is None:
        return {}
    rows = {row.id: row for row in sets.read(data, "gaps") if "gap_hse_eV" in row.labels}
    asked = [rows[i] for i in ran["ids"]]
    truth = labels(asked, "gap_hse_eV")
    by_name: dict[str, list[Guess]] = {}
    for run in ran["runs"]:
        values = at(asked, dict(zip(ran["ids"], run["predicted"][q.GAP_HSE06], strict=True)))
        extra = {"seed": run["seed"], "epochs": run["epochs"], "n_train": run["n_train"]}
        by_name.setdefault(run["name"], []).append(Guess(values, minutes(run["cpu_s"]), extra))
    peers = forests_of(grown, q.GAP_HSE06, asked)
    found = compare(truth, by_name["together"][0], peers, positive)
    errors = [mae(truth, positive(g.values)) for g in by_name["together"]]
    found["mae"] = round(float(np.mean(errors)), 5)  # of one network, mean over seeds
    found["ratio"] = round(found["best_peer_mae"] / found["mae"], 3) if peers else None
    for name, guesses in by_name.items():
        errors = [mae(truth, positive(g.values)) for g in guesses]
        found[name] = {"mae": round(float(np.mean(errors)), 5), "mae_by_seed": errors}
        found[name] |= {"cpu_minutes": guesses[0].cpu_minutes, **guesses[0].extra}
        if name != "together":
            found[name]["ratio"] = round(found[name]["mae"] / found["mae"], 3)
            found[name]["ratio_95"] = ratio_interval(mean_error(truth, by_name["together"]), mean_error(truth, guesses))
    return {q.GAP_HSE06: found}


def small(data: Path, work: Path, grown: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for step, columns in SMALL.items():
        ran = read(work / f"{step}.json")
        if ran is None:
            continue
        rows = {row.id: row for row in sets.read(data, step)}
        for target, field in columns.items():
            asked = [rows[i] for i in ran["ids"] if field in rows[i].labels]
            truth = labels(asked, field)
            own = Guess(
                at(asked, dict(zip(ran["ids"], ran["predicted"][target], strict=True))), minutes(ran["cpu_s"]), {}
            )
            peers = forests_of(grown, target, asked)
            unit = q.quantity(target).unit
            if step == "masses":
                truth, unit = np.minimum(truth, HEAVIEST), "decades"
            found = compare(truth, own, peers, np.log10 if step == "masses" else plain) | {"unit": unit}
            if step == "elastic":
                in_decades = compare(truth, own, peers, np.log10)
                found["in_decades"] = {
                    k: in_decades[k] for k in ("mae", "best_peer", "best_peer_mae", "ratio") if k in in_decades
                }
            if step == "exfoliation":
                found["leaderboard_best"] = LEADERBOARD
            result[target] = found
    return result


def summary(data: Path, work: Path, quick: bool) -> dict[str, Any]:
    """The figures of whatever has been done in the work folder; ``quick``: of our own, on the validation part."""
    every = sets.read(data, "mp_20")
    parts = {part: [row for row in every if row.part == part] for part in ("train", "validation", "test")}
    counts = {part: len(rows) for part, rows in parts.items()}
    if quick:
        return mp_20(parts["validation"], parts["validation"], work, {}) | {"split": {"mp_20_biternary": counts}}
    grown = (read(work / "forests.json") or {"targets": {}})["targets"]
    result = mp_20(parts["validation"], parts["test"], work, grown)
    return result | hse(data, work, grown) | small(data, work, grown) | {"split": {"mp_20_biternary": counts}}
