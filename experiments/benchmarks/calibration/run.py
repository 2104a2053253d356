"""Whether 90 % intervals hold: on formulas held out, and on families of elements that training has never seen.

    python experiments/benchmarks/calibration/run.py --data FOLDER [--work FOLDER] [--quick]

FOLDER holds the published sets that `experiments/screener` trains on. Settings and families were fixed before the first
run: nothing is chosen on what is held out. A run that was cut off goes on from its checkpoints. The last line printed
is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from materia.crystal import symbol
from materia.quantities import FORMATION_ENERGY_MP, GAP_MP, Form, quantity
from materia.surrogate import Example, Surrogate, SurrogateSettings, grouped_folds, train

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "screener"))
from published import TARGETS, read  # noqa: E402 - the sets are read as for the shipped weights

FAMILIES = {"selenides": "Se", "bromides": "Br", "phosphides": "P", "magnesium": "Mg", "yttrium": "Y"}
POOL = 100  # formulas of a pool on which the alarm is tried
SHIFTED, STRAIGHT = 2, 4  # such pools of each family
Array = np.ndarray


def settings(members: int, epochs: int, *, compiled: bool) -> SurrogateSettings:
    return SurrogateSettings(
        channels=32,
        layers=2,
        members=members,
        folds=20,
        left_out_by=2,
        balance=0.5,
        epochs=epochs,
        batch_size=32,
        learning_rate=4e-3,
        ema=0.999,
        strain=0.005,
        rattle=0.01,
        replicas=2,
        pretrained=None,
        compile=compiled,
        checkpoint_every=1,
    )


def figure(values: Sequence[Any], form: Form) -> Array:
    """(n,) numbers in which intervals are judged: values, decimal logarithms, those of a tensor's mean eigenvalue."""
    array = np.asarray(values, dtype=np.float64)
    if form is Form.TENSOR:
        array = np.trace(array.reshape(-1, 3, 3), axis1=1, axis2=2) / 3
    return array if form is Form.SCALAR else np.log10(array)


def judge(model: Surrogate, held: list[Example]) -> dict[str, Any]:
    """Coverage and width of every quantity's intervals; of classes the expected calibration error."""
    predicted = model.predict([e.crystal for e in held])
    result: dict[str, Any] = {}
    for target in model.quantities:
        rows = [i for i, e in enumerate(held) if target.name in e.targets]
        if not rows or not model.card["parity"][target.name]["observed"]:
            continue
        mean = predicted.column(target.name)[0][rows]
        if target.form is Form.CLASS:
            truth = np.array([float(held[i].targets[target.name]) for i in rows])
            bins = np.minimum((mean * 10).astype(int), 9)
            gaps = [abs(mean[bins == b].sum() - truth[bins == b].sum()) for b in range(10)]
            result[target.name] = {"ece": round(float(sum(gaps) / len(rows)), 4), "n": len(rows)}
            continue
        truth = figure([held[i].targets[target.name] for i in rows], target.form)
        low, high = (end[rows] for end in predicted.interval(target.name))
        if target.form is not Form.SCALAR:
            low, high, mean = np.log10(low), np.log10(high), np.log10(mean)
        inside = (truth >= low - 1e-9) & (truth <= high + 1e-9)
        parity = model.card["parity"][target.name]
        seen, guess = np.array(parity["observed"]), np.array(parity["predicted"])
        residual = seen - guess if target.form is Form.SCALAR else np.log10(seen / guess)
        reach = float(np.quantile(np.abs(residual), 0.9))
        floor = -np.inf if target.lower is None or target.form is not Form.SCALAR else target.lower
        constant = (mean + reach) - np.maximum(mean - reach, floor)
        n = len(rows)
        result[target.name] = {
            "coverage": round(float(inside.mean()), 4),
            "n": n,
            "binomial_95": [round(0.9 - 1.96 * (0.09 / n) ** 0.5, 4), round(0.9 + 1.96 * (0.09 / n) ** 0.5, 4)],
            "width": round(float((high - low).mean()), 4),
            "width_ratio": round(float((high - low).mean() / constant.mean()), 4),
            "mae": round(float(np.abs(truth - mean).mean()), 4),
        }
        if target.name.startswith("gap") and (truth == 0).any():
            for name, part in (("metals", truth == 0), ("non_metals", truth > 0)):
                result[target.name][f"coverage_{name}"] = round(float(inside[part].mean()), 4)
    return result


def pools(examples: list[Example], count: int, seed: int) -> list[list[Example]]:
    """Random pools of ``POOL`` formulas, with all their structures."""
    names = sorted({e.group for e in examples})
    draw = np.random.default_rng(seed)
    chosen = [set(draw.choice(names, min(POOL, len(names)), replace=False)) for _ in range(count)]
    return [[e for e in examples if e.group in some] for some in chosen]


def shift(
    examples: list[Example], work: Path, epochs: int, families: dict[str, str], *, compiled: bool
) -> dict[str, Any]:
    """Leave each family out, predict it, and see whether the alarm sounds for it and only for it."""
    found: dict[str, Any] = {}
    sounded: list[bool] = []
    false: list[bool] = []
    for number, (name, element) in enumerate(families.items()):
        family = [e for e in examples if element in {symbol(int(z)) for z in e.crystal.numbers}]
        rest = [e for e in examples if element not in {symbol(int(z)) for z in e.crystal.numbers}]
        home = grouped_folds([e.group for e in rest], 8, seed=100 + number)
        model = train(
            [e for e, fold in zip(rest, home, strict=True) if fold],
            targets=[FORMATION_ENERGY_MP, GAP_MP],
            settings=settings(2, epochs, compiled=compiled),
            folder=work / f"without_{name}",
            seed=number,
            progress=False,
        )
        judged = judge(model, family)
        straight = [e for e, fold in zip(rest, home, strict=True) if not fold]
        for pool_set, alarms, count in ((family, sounded, SHIFTED), (straight, false, STRAIGHT)):
            for pool in pools(pool_set, count, seed=number):
                remote = model.remoteness(model.predict([e.crystal for e in pool]))
                alarms.append(model.drift(remote, [e.group for e in pool]).alarm)
        found[name] = {t: judged[t]["coverage"] for t in judged} | {"n": len(family)}
        print(name, found[name], flush=True)
    worst = min(found, key=lambda name: min(v for t, v in found[name].items() if t != "n"))
    return {
        "worst_family": worst,
        "worst_coverage": min(v for t, v in found[worst].items() if t != "n"),
        "families": found,
        "alarm_power": round(float(np.mean(sounded)), 4),
        "shifted_pools": len(sounded),
        "alarm_false_rate": round(float(np.mean(false)), 4),
        "straight_pools": len(false),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=None, help="where models are kept")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="within a minute: a small part, two epochs, one family")
    args = parser.parse_args()
    started = time.process_time()
    work = args.work or Path(tempfile.mkdtemp(prefix="materia-calibration-"))
    examples = read(args.data, 20)
    families, epochs, members = FAMILIES, args.epochs, args.members
    if args.quick:
        examples = [e for e in examples if e.crystal.n_atoms <= 4][::4]
        families, epochs, members = {"tellurides": "Te"}, 2, 1
    home = grouped_folds([e.group for e in examples], 5, seed=0)
    seen = [e for e, fold in zip(examples, home, strict=True) if fold]
    targets = [t for t in TARGETS if any(t in e.targets for e in seen)]
    model = train(
        seen,
        targets=targets,
        settings=settings(members, epochs, compiled=not args.quick),
        folder=work / "all",
        seed=0,
        progress=False,
    )
    result = judge(model, [e for e, fold in zip(examples, home, strict=True) if not fold])
    print(json.dumps(result), flush=True)
    known = [e for e in examples if FORMATION_ENERGY_MP in e.targets]
    result["shift"] = shift(known, work, epochs, families, compiled=not args.quick)
    result |= {
        "settings": settings(members, epochs, compiled=not args.quick).model_dump(),
        "n_train": len(seen),
        "cpu_minutes": round((time.process_time() - started) / 60, 2),
        "forms": {t: quantity(t).form for t in targets},
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name).partition("+")[0] for name in ("torch", "vesin", "numpy")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
