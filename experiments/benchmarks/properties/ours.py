"""One step of our own side of the benchmark: trains, predicts the test part, and leaves figures with their cost.

    python experiments/benchmarks/properties/ours.py STEP --data FOLDER --work FOLDER [--quick]

Steps: ``mp_20``, ``mp_20_long``, ``forests``, ``hse``, ``masses``, ``elastic``, ``exfoliation``. Each leaves
``STEP.json``. With ``--quick`` a small network learns from some of the training part and predicts the validation part.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sets

from materia import quantities as q
from materia.quantities import Quantity, declare, quantity
from materia.surrogate import Example, SurrogateSettings, train

BASE = SurrogateSettings(
    channels=32,
    layers=2,
    members=2,
    folds=10,
    epochs=24,
    batch_size=32,
    learning_rate=4e-3,
    ema=0.999,
    strain=0.0,
    rattle=0.0,
    replicas=1,
    pretrained=None,
    compile=True,
    checkpoint_every=1,
)
# a few hundred to two thousand labels: the phonon benchmark's settings, with fewer members
SMALL = BASE.model_copy(update={"members": 3, "folds": 16, "epochs": 80, "ema": 0.995, "strain": 0.01, "rattle": 0.01})
SETTINGS: dict[str, SurrogateSettings] = {
    "energy": BASE,
    "gap": BASE,
    "energy_long": BASE.model_copy(update={"members": 4, "epochs": 40}),
    "gap_long": BASE.model_copy(update={"members": 4, "epochs": 40}),
    "hse": BASE.model_copy(update={"members": 1, "epochs": 15, "balance": 0.5}),
    "masses": SMALL.model_copy(update={"members": 2, "epochs": 40}),
    "elastic": SMALL,
    "exfoliation": SMALL,
}
QUICK = {"channels": 24, "layers": 2, "members": 1, "epochs": 6, "compile": False, "ema": 0.98}
COLUMNS = {
    "mp_20": {"formation_energy_per_atom_eV": q.FORMATION_ENERGY_MP, "band_gap_pbe_eV": q.GAP_MP},
    "hse": {"gap_hse_eV": q.GAP_HSE06, "gap_pbe_eV": q.GAP_MP, "gap_gllbsc_eV": q.GAP_GLLBSC},
    "masses": {"m_n": q.ELECTRON_MASS, "m_p": q.HOLE_MASS},
    "elastic": {"K_VRH_GPa": q.BULK_MODULUS, "G_VRH_GPa": q.SHEAR_MODULUS},
    "exfoliation": {"exfoliation_energy_meV_per_atom": q.EXFOLIATION_ENERGY},
}
HEAVIEST = 100.0  # m_e, as in experiments/screener: tails up to 1e7 are numerical noise of flat bands
MAX_ATOMS = {"hse": 20, "masses": 40, "elastic": 40}  # of a cell that is learned from; larger ones are still predicted
LINEAR = (declare(q.EXFOLIATION_ENERGY, unit="meV/atom", lower=0.0, form="scalar"),)  # judged in meV/atom, not decades
HSE_SEEDS = (0, 1, 2)


def spent() -> float:
    """CPU seconds of this process and of the compilers it has started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def settings_of(quick: bool) -> dict[str, SurrogateSettings]:
    """Settings of every network; of the quick form, those that it trains."""
    if not quick:
        return SETTINGS
    return {name: SETTINGS[name].model_copy(update=QUICK) for name in ("energy", "gap")}


def labels_of(row: sets.Row, columns: Mapping[str, str]) -> dict[str, float]:
    found = {}
    for field, name in columns.items():
        value = row.labels.get(field)
        if value is not None and np.isfinite(value) and (quantity(name).form is not q.Form.LOG or value > 0):
            found[name] = min(float(value), HEAVIEST) if name in (q.ELECTRON_MASS, q.HOLE_MASS) else float(value)
    return found


def examples(rows: Sequence[sets.Row], columns: Mapping[str, str], max_atoms: int | None = None) -> list[Example]:
    """Rows with any of the labels, as what is learned from."""
    found = []
    for row in rows:
        labels = labels_of(row, columns)
        if labels and (max_atoms is None or row.crystal.n_atoms <= max_atoms):
            found.append(Example(row.crystal, labels, row.crystal.formula))
    return found


def learn(
    known: Sequence[Example],
    asked: Sequence[Any],
    targets: Sequence[str],
    settings: SurrogateSettings,
    folder: Path,
    seed: int,
    declared: Sequence[Quantity] = (),
) -> dict[str, Any]:
    """Train and predict: ``predicted`` (target -> values), CPU seconds of the training (cut-off runs included; of the
    first epoch apart, which holds compilation), parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    cost, first = folder / "training.cpu", folder / "first_epoch.cpu"
    before = (float(cost.read_text()) if cost.exists() else 0.0) - spent()

    def note(*_: Any) -> None:
        used = before + spent()
        cost.write_text(str(used))
        if not first.exists():
            first.write_text(str(used))

    model = train(
        known,
        targets=list(targets),
        declared=declared,
        settings=settings,
        folder=folder,
        seed=seed,
        logger=note,
        progress=False,
    )
    used = before + spent()
    predicted = model.predict(list(asked))
    return {
        "predicted": {name: predicted.column(name)[0].tolist() for name in targets},
        "cpu_s": round(used, 1),
        "first_epoch_cpu_s": round(float(first.read_text()), 1) if first.exists() else None,
        "parameters": sum(p.numel() for p in model.members[0].network.parameters()),
        "n_train": len(known),
    }


def mp_20(args: argparse.Namespace, suffix: str = "") -> dict[str, Any]:
    """Networks for the formation energy alone, and others for gap and metal, which it helps to learn beside them."""
    rows = sets.read(args.data, "mp_20")
    if args.quick:
        rows = [row for row in rows if row.crystal.n_atoms <= 6][::3]
    unseen = "validation" if args.quick else "test"
    known = examples([row for row in rows if row.part not in ("test", unseen)], COLUMNS["mp_20"])
    known = [Example(e.crystal, {**e.targets, q.IS_METAL: float(e.targets[q.GAP_MP] == 0)}, e.group) for e in known]
    asked = [row for row in rows if row.part == unseen]
    found: dict[str, Any] = {"ids": [row.id for row in asked], "predicted": {}, "networks": {}, "cpu_s": 0.0}
    for name, targets in (("energy", [q.FORMATION_ENERGY_MP]), ("gap", [q.GAP_MP, q.IS_METAL, q.FORMATION_ENERGY_MP])):
        settings = settings_of(args.quick)[name + suffix]
        folder = args.work / f"mp_20{suffix}" / name
        result = learn(known, [row.crystal for row in asked], targets, settings, folder, args.seed)
        found["predicted"] = result.pop("predicted") | found["predicted"]
        found["cpu_s"] = round(found["cpu_s"] + result["cpu_s"], 1)
        found["networks"][name] = result
    return found


def forests(args: argparse.Namespace) -> dict[str, Any]:
    """Forests for every set: target -> kind of features -> predictions of the test part."""
    from forests import forests as grow

    found: dict[str, Any] = {}
    for step, name in {"mp_20": "mp_20", "hse": "gaps", "masses": "masses", "elastic": "elastic"}.items() | {
        ("exfoliation", "exfoliation")
    }:
        rows = sets.read(args.data, name)
        columns = dict(list(COLUMNS[step].items())[:1]) if step == "hse" else COLUMNS[step]
        rows = [row for row in rows if labels_of(row, columns)]
        test = [row for row in rows if row.part == "test"]
        known = [row for row in rows if row.part != "test"]
        forms = {target: quantity(target).form for target in columns.values()}
        y = np.array([[labels_of(row, columns).get(t, np.nan) for t in columns.values()] for row in known])
        if step == "exfoliation":
            forms = dict.fromkeys(forms, q.Form.SCALAR)  # judged in meV/atom
        for j, form in enumerate(forms.values()):
            y[:, j] = np.log10(y[:, j]) if form is q.Form.LOG else y[:, j]
        grown = grow(([row.crystal for row in known], y), [row.crystal for row in test])
        for kind, result in grown.items():
            for j, (target, form) in enumerate(forms.items()):
                column = result["predicted"][:, j]
                values = 10**column if form is q.Form.LOG else column
                found.setdefault(target, {})[kind] = {
                    "predicted": dict(zip([row.id for row in test], values.tolist(), strict=True)),
                    "cpu_s": round(result["cpu_s"], 1),
                }
        print(step, "grown", flush=True)
    return {"targets": found}


def hse(args: argparse.Namespace) -> dict[str, Any]:
    """HSE06 gaps learned alone, alone for as long as together, and together with those of PBE and GLLB-SC."""
    rows = sets.read(args.data, "gaps")
    seen = [row for row in rows if row.part != "test"]
    test = [row for row in rows if row.part == "test" and "gap_hse_eV" in row.labels]
    crystals = [row.crystal for row in test]
    every = COLUMNS["hse"]
    only = {"gap_hse_eV": q.GAP_HSE06}
    settings = SETTINGS["hse"]
    found: dict[str, Any] = {"ids": [row.id for row in test], "runs": []}
    for seed in HSE_SEEDS:
        cost: dict[str, float] = {}
        for name, columns in (("alone", only), ("together", every), ("alone_as_long", only)):
            epochs = settings.epochs
            if name == "alone_as_long":
                epochs = round(epochs * cost["together"] / cost["alone"])
            done = args.work / "hse" / f"{name}_{seed}.json"
            if not done.exists():
                known = examples(seen, columns, MAX_ATOMS["hse"])
                stretched = settings.model_copy(update={"epochs": epochs})
                folder = args.work / "hse" / f"{name}_{seed}"
                result = learn(known, crystals, list(columns.values()), stretched, folder, seed)
                done.write_text(json.dumps({"name": name, "seed": seed, "epochs": epochs, **result}))
            run = json.loads(done.read_text())
            cost[name] = run["cpu_s"] - (run["first_epoch_cpu_s"] or 0.0)  # what is not spent on compilation
            found["runs"].append(run)
            print(name, seed, run["cpu_s"], flush=True)
    return found


def small(name: str, folder: str) -> Callable[[argparse.Namespace], dict[str, Any]]:
    def step(args: argparse.Namespace) -> dict[str, Any]:
        rows = sets.read(args.data, folder)
        columns = COLUMNS[name]
        known = examples([row for row in rows if row.part != "test"], columns, MAX_ATOMS.get(name))
        test = [row for row in rows if row.part == "test" and labels_of(row, columns)]
        crystals = [row.crystal for row in test]
        declared = LINEAR if name == "exfoliation" else ()
        found = learn(known, crystals, list(columns.values()), SETTINGS[name], args.work / name, args.seed, declared)
        return {**found, "ids": [row.id for row in test]}

    return step


STEPS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "mp_20": mp_20,
    "mp_20_long": lambda args: mp_20(args, "_long"),
    "forests": forests,
    "hse": hse,
    "masses": small("masses", "masses"),
    "elastic": small("elastic", "elastic"),
    "exfoliation": small("exfoliation", "exfoliation"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=sorted(STEPS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    started = time.time()
    found = STEPS[args.step](args)
    partial = args.work / f"{args.step}.partial"
    partial.write_text(json.dumps(found))
    partial.replace(args.work / f"{args.step}.json")
    print(f"{args.step}: {spent() / 60:.1f} CPU-minutes, {(time.time() - started) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
