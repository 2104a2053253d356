"""Structures a second on one core, from structure to calibrated prediction, beside published networks.

    python experiments/benchmarks/throughput/run.py --data FOLDER --model MODEL [--peers PYTHON] [--quick]

FOLDER holds ``matbench_phonons`` and ``mp_20_biternary`` (gzip JSON lines, one record a line); MODEL is a model folder,
PYTHON an interpreter whose environment has matgl, alignn and chgnet. Everything runs with one thread; the figures are
structures per CPU second of the best of ``--repeats`` passes, ours before and after the peers. The last line printed is
the result as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from materia.crystal import Crystal
from materia.surrogate import Surrogate

HERE = Path(__file__).parent
SETS = ("matbench_phonons", "mp_20_biternary")
PEERS = ("megnet", "m3gnet", "alignn", "chgnet")


def read(file: Path, n: int) -> list[Crystal]:
    """At most ``n`` structures at even steps through a file of records."""
    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line)["structure"] for line in lines]
    return [Crystal.from_record(row) for row in rows[:: max(1, len(rows) // n)][:n]]


def ours(model: Surrogate, crystals: list[Crystal], repeats: int) -> dict[str, float]:
    """Structures per CPU second of neighbour lists alone and of everything up to the interval."""
    model.predict(crystals[:64])
    graphs, whole = [], []
    for _ in range(repeats):
        started = time.process_time()
        store = model.prepare(crystals)
        graphs.append(time.process_time() - started)
        predicted = model.predict(store)
        for target in predicted.targets:
            predicted.interval(target)
        whole.append(time.process_time() - started)
    return {"graphs": len(crystals) / min(graphs), "all": len(crystals) / min(whole)}


def peer(python: Path, name: str, files: list[Path], n: int) -> dict[str, Any]:
    command = [str(python), str(HERE / "peers.py"), name, *map(str, files), "--n", str(n)]
    ran = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two sets")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--peers", type=Path, default=None, help="interpreter of the peers' environment")
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="within a minute: not compiled, no peers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    n, repeats = (256, 2) if args.quick else (args.n, args.repeats)

    files = [args.data / name / f"{name}.jsonl.gz" for name in SETS]
    pools = {name: read(file, n) for name, file in zip(SETS, files, strict=True)}
    model = Surrogate.load(args.model, device="cpu", compiled=not args.quick)
    started = time.process_time()
    model.predict(next(iter(pools.values()))[:64])
    compiling = time.process_time() - started

    rates = {name: ours(model, crystals, repeats) for name, crystals in pools.items()}
    peers: dict[str, dict[str, float]] = {}
    if args.peers is not None and not args.quick:
        for name in PEERS:
            peers[name] = peer(args.peers, name, files, n)["structures_per_s"]
            print(name, {k: round(v, 1) for k, v in peers[name].items()}, flush=True)
        for name, crystals in pools.items():  # again, after the peers: the better of two moments, as for them
            rates[name] = max(rates[name], ours(model, crystals, repeats), key=lambda r: r["all"])
    sets: dict[str, dict[str, float]] = {
        name: {"structures_per_s": round(r["all"], 1), "graphs_per_s": round(r["graphs"], 1)}
        for name, r in rates.items()
    }
    for name in SETS if peers else ():
        fastest = max(found[name] for found in peers.values())
        sets[name]["ratio_fastest_peer"] = round(rates[name]["all"] / fastest, 2)
        sets[name]["ratio_alignn"] = round(rates[name]["all"] / peers["alignn"][name], 2)
    result: dict[str, Any] = {key: min(found[key] for found in sets.values()) for key in sets[SETS[0]]}  # the worse set
    result["sets"] = sets
    if peers:
        result["peers"] = {p: {name: round(v, 1) for name, v in found.items()} for p, found in peers.items()}
    architecture = model.card["architecture"]
    result |= {
        "model": {
            "members": len(model.members),
            "targets": list(model.targets),
            "parameters": sum(p.numel() for p in model.members[0].network.parameters()),
            **{name: architecture[name] for name in ("channels", "layers", "cutoff")},
        },
        "compiled": not args.quick,
        "compile_cpu_s": round(compiling, 1),
        "n": n,
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name).partition("+")[0] for name in ("torch", "vesin", "numpy")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
