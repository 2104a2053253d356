"""What strategies find on data with known answers, against what chance, a chemist and a forest find.

    python experiments/benchmarks/replay/run.py --records FOLDER [--weights FOLDER] [--goals A,B...]
        [--strategies A,B...] [--quick]

One replay file a goal (beside this script), 20 seeds each. The last line printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from materia.campaign import replay
from materia.search.replay import ReplaySettings, StrategySettings, load_replay

HERE = Path(__file__).parent
QUICK = ("own_pool",)


def settings_of(goal: str, records: Path | None, weights: Path | None, quick: bool) -> ReplaySettings | None:
    """The goal's replay file, its records looked for in ``records``; None where they are not there.

    Networks that start from ``weights/NAME`` start from that folder of ``weights``, and are left out without.
    """
    settings = load_replay(HERE / f"{goal}.yaml")
    if settings.data.records is not None:
        name = Path(settings.data.records).name
        found = [] if records is None else sorted(records.rglob(name))
        if not found:
            return None
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"records": str(found[0])})})
    if quick:
        cheap = tuple(s for s in settings.strategies if s.learner != "network")
        return settings.model_copy(update={"seeds": 4, "strategies": cheap})
    strategies = (with_weights(s, weights) for s in settings.strategies)
    return settings.model_copy(update={"strategies": tuple(s for s in strategies if s is not None)})


def with_weights(strategy: StrategySettings, weights: Path | None) -> StrategySettings | None:
    """The strategy, its weights looked for in that folder; None where they are not there."""
    named = {k: Path(str(v)).name for k, v in strategy.options.items() if str(v).startswith("weights/")}
    if not named:
        return strategy
    missing = [name for name in named.values() if weights is None or not (weights / name / "card.json").is_file()]
    if weights is None or missing:
        print(f"{strategy.name}: left out, its weights {', '.join(missing)} are not in {weights}", flush=True)
        return None
    there = {key: str(weights / name) for key, name in named.items()}
    return strategy.model_copy(update={"options": {**strategy.options, **there}})


def brief(result: dict[str, Any]) -> dict[str, Any]:
    """strategy -> acceleration, low, high, seeds, and what else is worth keeping."""
    rows: dict[str, Any] = {}
    for name, found in result["strategies"].items():
        speed, cpu = found["acceleration"], found["cpu_s_round"]
        rows[name] = {
            "acceleration": speed["value"],
            "low": speed["low"],
            "high": speed["high"],
            "seeds": found["seeds"],
            "reached": found["reached"],
            "calculations": found["calculations"]["value"],
            "cpu_s_round": round(cpu["learn"] + cpu["choose"], 3),
            "against": found["against"],
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, help="folder (searched below) with the published datasets")
    parser.add_argument("--weights", type=Path, help="folder with what experiments/pretrain/run.py --leave-out made")
    parser.add_argument("--goals", default=",".join(sorted(p.stem for p in HERE.glob("*.yaml"))))
    parser.add_argument("--strategies", type=lambda names: names.split(","), help="these only; by default all")
    parser.add_argument("--folder", type=Path, default=Path("replays"), help="runs, figures and pages, by goal")
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="within a minute: own_pool, cheap strategies, four seeds")
    args = parser.parse_args()
    result: dict[str, Any] = {}
    goals: dict[str, Any] = {}
    for goal in QUICK if args.quick else args.goals.split(","):
        settings = settings_of(goal, args.records, args.weights, args.quick)
        if settings is None:
            print(f"{goal}: left out, its records are not in {args.records}", flush=True)
            continue
        if args.strategies:
            wanted = tuple(s for s in settings.strategies if s.name in args.strategies)
            settings = settings.model_copy(update={"strategies": wanted})
        if not settings.strategies:
            print(f"{goal}: left out, it has none of the strategies asked for", flush=True)
            continue
        found = replay(settings, args.folder / goal, jobs=args.jobs)
        result[goal], goals[goal] = brief(found), found["goal"]
        for name, row in result[goal].items():
            print(f"{goal:<24} {name:<12} {row['acceleration']:.2f} [{row['low']:.2f}, {row['high']:.2f}]", flush=True)
    print(json.dumps({**result, "goals": goals}))


if __name__ == "__main__":  # worker processes import this file
    main()
