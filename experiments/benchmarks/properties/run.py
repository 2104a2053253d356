"""Errors of predicted properties beside MEGNet, ALIGNN and TensorNet trained for the same CPU time, and forests.

    python experiments/benchmarks/properties/run.py --data FOLDER --peers PYTHON [--work FOLDER] [--quick]

FOLDER holds the published sets that ``sets.py`` names; PYTHON is an interpreter whose environment has matgl and alignn.
Every step runs in a process of its own with one thread and leaves its figures in the work folder: a run that was cut
off goes on from there. ``--only STEP...`` does some of the steps; ``--converged M`` trains each peer once more, for M
CPU-minutes (a number, or one for each peer: ``alignn=50``). The last line printed is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ours
import scores
import sets

HERE = Path(__file__).parent
PEERS = {  # whether one network learns both targets; else two share the time. matgl's MEGNet has one output
    "alignn": ("alignn", True),
    "alignn_apart": ("alignn", False),
    "megnet": ("megnet", False),
    "tensornet": ("tensornet", True),
}
FIELDS = ("formation_energy_per_atom_eV", "band_gap_pbe_eV")
SEED = 0
OWN = ("mp_20", "forests", "hse", "masses", "elastic", "exfoliation")
MINUTES = 15.0  # CPU time of each peer, and what ours stays within


def train_peer(name: str, minutes: float, args: argparse.Namespace, work: Path) -> None:
    """One peer for so many CPU-minutes, all its targets together."""
    split = args.work / "split.json"
    if not split.exists():
        rows = sets.read(args.data, "mp_20")
        parts = {part: [r.id for r in rows if r.part == part] for part in ("train", "validation", "test")}
        split.write_text(json.dumps(parts))
    peer, joint = PEERS[name]
    runs = [(FIELDS, peer)] if joint else [((field,), f"{peer}_{field}") for field in FIELDS]
    for fields, folder in runs:
        if (work / folder / "result.json").exists():
            continue
        command = [args.peers, HERE / "peers.py", peer, "--data", sets.path(args.data, "mp_20"), "--split", split]
        command += ["--work", work / folder, "--seconds", 60 * minutes / len(runs), "--seed", SEED, "--targets"]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        subprocess.run([str(part) for part in (*command, *fields)], check=True, env=environment)


def own_step(name: str, args: argparse.Namespace) -> None:
    """One of our steps in a process of its own, so that its CPU time is counted whole."""
    if (args.work / f"{name}.json").exists():
        return
    command = [sys.executable, HERE / "ours.py", name, "--data", args.data, "--work", args.work]
    command += ["--quick"] if args.quick else []
    subprocess.run([str(part) for part in command], check=True)


def minutes_of(said: list[str]) -> dict[str, float]:
    """``["50"]`` or ``["alignn=50", "megnet=30"]`` as CPU-minutes of each peer."""
    if len(said) == 1 and "=" not in said[0]:
        return dict.fromkeys(PEERS, float(said[0]))
    return {name: float(value) for name, _, value in (entry.partition("=") for entry in said)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, default=None, help="interpreter of the peers' environment")
    parser.add_argument("--work", type=Path, default=None, help="where models and finished steps are kept")
    parser.add_argument("--only", nargs="+", choices=(*OWN, "peers", "converged"), default=None)
    parser.add_argument("--converged", nargs="+", default=[], metavar="M", help="CPU-minutes, or PEER=M ...")
    parser.add_argument("--quick", action="store_true", help="within a minute: a small part of our own, no peers")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    args.work = args.work or Path(tempfile.mkdtemp(prefix="materia-properties-"))
    args.work.mkdir(parents=True, exist_ok=True)
    started = time.time()
    longer = minutes_of(args.converged)
    steps = args.only or (["mp_20"] if args.quick else [*OWN, "peers", "converged"])
    for step in steps:
        if step in OWN:
            own_step(step, args)
        elif args.peers is None:
            continue
        elif step == "peers":
            for name in PEERS:
                train_peer(name, MINUTES, args, args.work / "equal")
        elif longer:
            own_step("mp_20_long", args)
            for name, minutes in longer.items():
                train_peer(name, minutes, args, args.work / "converged")
    result: dict[str, Any] = scores.summary(args.data, args.work, args.quick)
    result |= {
        "settings": {name: settings.model_dump() for name, settings in ours.settings_of(args.quick).items()},
        "seed": SEED,
        "wall_minutes_of_this_call": round((time.time() - started) / 60, 1),
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
        "versions": {
            name: version(name).partition("+")[0] for name in ("materia", "torch", "vesin", "numpy", "scikit-learn")
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
