"""How long one ask takes on a large pool with a long past, and whether many askers ever collide.

    python experiments/benchmarks/ask/run.py [--quick]

Predictions of a synthetic pool are made first and not timed. The last line printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
import optuna

from materia.search import (
    Beliefs,
    Conditions,
    Constraint,
    Objective,
    PoolSampler,
    PoolView,
    SearchSettings,
    reserving_ask,
)
from materia.search._storage import open_study

ACQUISITIONS = ("probability", "ehvi", "ucb", "thompson", "greedy", "spread", "random")
DIMENSIONS = 32  # of the embedding
BATCH = 20
LOSSES = ("gap_pbe", "energy_above_hull")


def pool_of(n: int, seed: int = 0) -> PoolView:
    """n candidates with Gaussian beliefs, an embedding, two families and a cost each."""
    rng = np.random.default_rng(seed)
    beliefs = Beliefs(
        {
            "gap_pbe": (np.maximum(rng.normal(1.5, 1.5, n), 0.0), rng.uniform(0.2, 0.8, n)),
            "energy_above_hull": (rng.normal(0.15, 0.15, n), rng.uniform(0.03, 0.12, n)),
            "supply_risk": (rng.uniform(0, 1, n), np.zeros(n)),
        }
    )
    conditions = Conditions(
        [Objective(quantity="gap_pbe", window=(0.6, 1.2)), Objective(quantity="energy_above_hull", goal="minimize")],
        [Constraint(quantity="energy_above_hull", below=0.1), Constraint(quantity="supply_risk", below=0.5)],
    )
    groups = {"prototype": rng.integers(0, 40, n), "chemistry": rng.integers(0, 4000, n)}
    embedding = rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
    return PoolView(n, conditions, beliefs, embedding=embedding, groups=groups, cost=rng.uniform(60, 6000, n))


def past_trials(view: PoolView, trials: int, seed: int = 1) -> list[optuna.trial.FrozenTrial]:
    """Computed candidates as a campaign leaves them: values drawn from the beliefs, constraints held against them."""
    from optuna.distributions import IntDistribution
    from optuna.trial import TrialState, create_trial

    rng, found = np.random.default_rng(seed), []
    assert view.beliefs is not None and view.conditions is not None
    rows = rng.choice(view.n, trials, replace=False).tolist()
    for number, row in enumerate(rows):
        values = {
            q: float(np.maximum(rng.normal(*(part[row] for part in view.beliefs.column(q))), 0.0))
            for q in view.beliefs.quantities
        }
        verdict = view.conditions.evaluate(values)
        found.append(
            create_trial(
                state=TrialState.COMPLETE,
                params={"candidate": row},
                distributions={"candidate": IntDistribution(0, view.n - 1)},
                values=list(verdict.losses.values()),
                constraints=verdict.violations,
                user_attrs={"round": number // BATCH, "slot": number % BATCH, "hit": verdict.hit},
            )
        )
    return found


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def time_asks(n: int, trials: int, rounds: int, acquisitions: tuple[str, ...]) -> dict[str, object]:
    """Wall and CPU seconds of every ask of some rounds; beliefs are renewed every round, as by a new model."""
    view = pool_of(n)
    first = Path(tempfile.mkdtemp()) / "journal"
    open_study(first, "asks", LOSSES, PoolSampler(view)).add_trials(past_trials(view, trials))
    asks: dict[str, dict[str, float]] = {}
    memory: dict[str, list[float]] = {}
    for name in acquisitions:
        with tempfile.TemporaryDirectory() as folder:
            settings = SearchSettings(acquisition=name, batch=BATCH, exploration=0.0)
            sampler = PoolSampler(view, settings=settings, lock=f"{folder}/lock")
            study = open_study(Path(shutil.copy(first, folder)), "asks", LOSSES, sampler)
            wall, cpu, held = [], [], []
            for round_ in range(trials // BATCH, trials // BATCH + rounds):
                sampler.view, asked = renewed(view, round_), []
                for slot in range(BATCH):
                    began = time.perf_counter(), time.process_time()
                    with sampler.at(round_, slot):
                        trial, _ = reserving_ask(study)
                    wall.append(time.perf_counter() - began[0])
                    cpu.append(time.process_time() - began[1])
                    trial.set_user_attr("slot", slot)
                    trial.set_user_attr("round", round_)
                    asked.append(trial)
                held.append(rss_mib())
                for trial in asked:  # a round is closed before the next model is trained
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
        asks[name] = {
            "median": round(median(wall), 4),
            "max": round(max(wall), 4),
            "cpu_median": round(median(cpu), 4),
            "cpu_max": round(max(cpu), 4),
        }
        memory[name] = [round(v) for v in held]
        print(f"{name:<12} {asks[name]}  memory by round, MiB: {memory[name]}", flush=True)
    shutil.rmtree(first.parent)
    return {"ask_seconds": asks, "memory_mib_by_round": memory}


def renewed(view: PoolView, seed: int) -> PoolView:
    """The same pool under a new model's predictions."""
    assert view.beliefs is not None
    rng = np.random.default_rng([2, seed])
    columns = {}
    for name in view.beliefs.quantities:
        mean, std = view.beliefs.column(name)
        columns[name] = (mean + 0.1 * std * rng.standard_normal(view.n), std)
    return PoolView(
        view.n, view.conditions, Beliefs(columns), embedding=view.embedding, groups=view.groups, cost=view.cost
    )


ASKER = """
import sys
from pathlib import Path
import optuna
from materia.search import PoolSampler, reserving_ask
from materia.search._storage import open_study
optuna.logging.set_verbosity(optuna.logging.WARNING)
path, asks, n = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
study = open_study(path, "many", ("loss",), PoolSampler(n, seed=5, lock=f"{path}.ask"))
for _ in range(asks):
    print(reserving_ask(study)[1])
"""


def collide(askers: int, asks: int, n: int) -> dict[str, object]:
    """Processes that share one journal and one seed: without the reservation they would choose alike. The pool has
    n candidates."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        journal = str(Path(folder) / "journal")
        share = [asks // askers + (k < asks % askers) for k in range(askers)]
        workers = [
            subprocess.Popen([sys.executable, "-c", ASKER, journal, str(k), str(n)], stdout=subprocess.PIPE, text=True)
            for k in share
        ]
        picks = [int(line) for worker in workers for line in worker.communicate()[0].split()]
        if any(worker.returncode for worker in workers):
            raise SystemExit("an asker failed")
    return {
        "askers": askers,
        "pool": n,
        "asks": len(picks),
        "duplicates": sum(count - 1 for count in Counter(picks).values()),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=1_000_000)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="of 20 asks each, for every acquisition")
    parser.add_argument("--asks", type=int, default=10_000, help="by all askers together")
    parser.add_argument("--askers", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="within a minute: 100,000 candidates, 2,000 trials")
    args = parser.parse_args()
    if args.quick:
        args.pool, args.trials, args.rounds, args.asks, args.askers = 100_000, 2000, 1, 200, 4
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    timed = time_asks(args.pool, args.trials, args.rounds, ACQUISITIONS)
    many = collide(args.askers, args.asks, 2 * args.asks)
    print(f"askers: {many}", flush=True)
    result = {
        "pool": args.pool,
        "trials": args.trials,
        **timed,
        "duplicates": many["duplicates"],
        "many_askers": many,
        "memory": {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)},
        "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
