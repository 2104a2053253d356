"""Every job exactly once, whatever dies: driver, sbatch's replies, controller, nodes.

    python experiments/benchmarks/exactly_once/run.py [--quick] [--jobs 1000] [--gpaw 20] [--kills 300] [--seed 1]

Needs the test cluster (root): it is the one that may be broken. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import driver
from ase.build import bulk

from materia.compute import ComputeSettings, Ledger, Retries
from materia.compute.testing import make_job, open_ledger
from materia.crystal import Crystal
from materia.record import JobSpec, OutcomeKind, Resources
from materia.resources import resource
from materia.simulation import ROUGH
from materia.simulation import make_job as make_dft_job

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
CLUSTER = str(resource("slurm/dev-cluster.sh"))
NODES = ("gs01r1b01", "gs01r1b02", "gs01r1b03", "gs01r1b04")
# Behaviours of the stand-ins and how many of a hundred have them; a list is one per attempt.
BEHAVIOURS: Sequence[tuple[Any, int]] = (("complete", 80), ("fail", 8), (["crash", "complete"], 8), ("crash", 4))
ENERGY_TOLERANCE = 1e-4  # eV/atom: a relaxation that was cut off starts one self-consistency anew

SHIM = """#!/bin/bash
# sbatch whose replies are lost, late, or never come; and sometimes it is not reached at all.
n=$(( $(cat "$SHIM_DIR/n" 2>/dev/null || echo 0) + 1 )); echo $n > "$SHIM_DIR/n"
lost() { echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1; }
case $(( (n * 7919 + SHIM_SEED) % 100 )) in
  [0-9])   "$REAL_SBATCH" "$@" >/dev/null; echo lost >> "$SHIM_DIR/log"; lost ;;
  1[0-4])  echo refused >> "$SHIM_DIR/log"; lost ;;
  1[5-9])  echo late >> "$SHIM_DIR/log"; sleep 2; exec "$REAL_SBATCH" "$@" ;;
  2[0-2])  "$REAL_SBATCH" "$@" >/dev/null; echo hung >> "$SHIM_DIR/log"; exec sleep 60 ;;
  *)       exec "$REAL_SBATCH" "$@" ;;
esac
"""


def settings() -> ComputeSettings:
    overrides = {
        "options": [],
        "array_size": 10,  # many submissions
        "settle_s": 6,
        "command_timeout_s": 4,
        "poll_interval_s": 0.5,
        "heartbeat_s": 1,
        "patience_s": 3,
    }
    retries = Retries(crashes=1, node_failures=20)
    return ComputeSettings(backend="slurm", site="dev", overrides=overrides, retries=retries)


def jobs(root: Path, n_jobs: int, n_gpaw: int, seed: int, longest_s: float) -> list[JobSpec]:
    """Stand-ins of up to ``longest_s`` seconds, and real GPAW calculations on two-atom cells among them."""
    draw = random.Random(seed)
    specs: list[JobSpec] = []
    for number in range(n_gpaw):
        name, structure, a = [("LiH", "rocksalt", 3.9), ("MgO", "rocksalt", 4.2), ("Si", "diamond", 5.4)][number % 3]
        crystal = Crystal.from_ase(bulk(name, structure, a=a * (1 + 0.005 * (number // 3))))
        specs.append(make_dft_job("relax" if number % 4 == 0 else "static", crystal, ROUGH, name=f"{name} {number}"))
    names, weights = zip(*BEHAVIOURS, strict=True)
    for number in range(n_jobs - n_gpaw):
        behaviour = draw.choices(names, weights)[0]
        asked = Resources(memory_mb=200, walltime_s=60)
        specs.append(
            make_job(
                root, f"job{number:04d}", behaviour, resources=asked, seconds=longest_s * draw.random(), number=number
            )
        )
    draw.shuffle(specs)
    return specs


def prepare(root: Path, specs: Sequence[JobSpec]) -> None:
    root.mkdir()
    (root / "driver.json").write_text(settings().model_dump_json())
    ledger = open_ledger(root)
    with ledger.transaction():
        for spec in specs:
            ledger.add(spec)


def start(root: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[bytes]:
    with (root / "driver.log").open("ab") as log:
        command = [sys.executable, str(HERE / "driver.py"), str(root), *options]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def cluster(*arguments: str) -> None:
    subprocess.run([CLUSTER, *arguments], check=False, capture_output=True, timeout=180)


class Chaos(threading.Thread):
    """Kills the controller and nodes, one after the other, and brings them back, once the first job runs.

    Before that the drivers die one after the other at the lines of their first submission, and no node has anything to
    lose.
    """

    def __init__(self, root: Path, seed: int, controller: int, nodes: int, pause_s: tuple[float, float]) -> None:
        super().__init__(daemon=True)
        self.root, self.pause_s = root, pause_s
        self.draw, self.done = random.Random(seed), Counter[str]()
        self.plan = ["controller"] * controller + ["node"] * nodes
        self.draw.shuffle(self.plan)
        self.stop = threading.Event()

    def run(self) -> None:
        while not any(self.root.glob("jobs/*/*/claim.json")):
            if self.stop.wait(0.2):
                return
        for what in self.plan:
            if self.stop.wait(self.draw.uniform(*self.pause_s)):
                return
            if what == "controller":
                cluster("kill-ctld")
                time.sleep(self.draw.uniform(1, 6))
                cluster("start-ctld")
            else:
                node = self.draw.choice(NODES)
                cluster("stop-node", node)
                subprocess.run(
                    ["scontrol", "update", f"nodename={node}", "state=down", "reason=benchmark"], check=False
                )
                time.sleep(self.draw.uniform(1, 6))
                cluster("start-node", node)
                subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False)
            self.done[what] += 1
            cluster("up")  # resumes nodes that the controller drained


def disturbed(root: Path, kills: int, lines: int, seed: int, chaos: Chaos, limit_s: float) -> dict[str, int]:
    """Drivers one after the other: each dies at a line of the submit path no other died at, else at a random moment."""
    shim = root / "shim"
    shim.mkdir()
    (shim / "sbatch").write_text(SHIM)
    (shim / "sbatch").chmod(0o755)
    real = shutil.which("sbatch")
    assert real
    extra = {"SHIM_DIR": str(shim), "SHIM_SEED": str(seed), "REAL_SBATCH": real}
    environment = {**os.environ, **extra, "PATH": f"{shim}:{os.environ['PATH']}"}
    draw, deadline = random.Random(seed), time.monotonic() + limit_s
    record, died, found_one = root / "lines", Counter[str](), True
    chaos.start()
    while time.monotonic() < deadline:
        killing = died.total() < kills or (found_one and died["line"] < lines)
        process = start(root, environment, *(["--die-at", str(record)] if killing else []))
        pause = 20.0 if found_one and killing else draw.uniform(0.6, 4.0) if killing else limit_s
        try:
            code = process.wait(timeout=max(1.0, min(pause, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            died["random"] += 1
            found_one = False
            continue
        if code == 0:
            break
        if code != -signal.SIGKILL:
            raise SystemExit(f"the driver ended with {code}: {(root / 'driver.log').read_text()[-2000:]}")
        died["line"] += 1
        found_one = True
        print(f"\rdrivers killed: {died.total()}", end="", file=sys.stderr, flush=True)
    chaos.stop.set()
    chaos.join()
    replies = Counter((shim / "log").read_text().split()) if (shim / "log").exists() else Counter()
    return {"at_lines": died["line"], "at_random": died["random"], **{f"sbatch_{k}": v for k, v in replies.items()}}


def undisturbed(root: Path, limit_s: float) -> None:
    process = start(root, dict(os.environ))
    if process.wait(timeout=limit_s) != 0:
        raise SystemExit((root / "driver.log").read_text()[-2000:])


def ledger_of(root: Path) -> Ledger:
    return Ledger(sqlite3.connect(root / "campaign.sqlite", isolation_level=None))


def completed_by_accounting(root: Path) -> Counter[str]:
    """How often accounting has each job as run to its end (array member COMPLETED)."""
    connection = sqlite3.connect(root / "campaign.sqlite")
    keys: dict[tuple[str, int], str] = {}
    for path in root.glob("tasks/*/members.json"):
        for slot, folder in enumerate(json.loads(path.read_text())["folders"]):
            keys[path.parent.name, slot] = Path(folder).parent.name
    connection.close()
    time.sleep(15)  # accounting lags behind the controller
    answer = subprocess.run(
        ["sacct", "-n", "-X", "-P", "-D", "-S", "now-1day", "-o", "JobName,JobID,State"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    ended: Counter[str] = Counter()
    for line in answer.splitlines():
        token, name, state = line.split("|")
        slot = name.rpartition("_")[2]
        if slot.isdigit() and state == "COMPLETED" and (token, int(slot)) in keys:
            ended[keys[token, int(slot)]] += 1
    return ended


def by_result(root: Path) -> Counter[str]:
    """How many attempts of each job published a result."""
    return Counter(path.parents[1].name for path in root.glob("jobs/*/*/result.json"))


def attempts_ended(root: Path) -> dict[str, int]:
    """How many attempts ended in which way; ``node_failure`` are those that a node or the controller took along."""
    with sqlite3.connect(root / "campaign.sqlite") as connection:
        return dict(connection.execute("SELECT ended, COUNT(*) FROM attempts WHERE ended IS NOT NULL GROUP BY ended"))


def same(one: Any, other: Any) -> bool:
    """Equal, numbers of a calculation within the tolerance."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, abs_tol=ENERGY_TOLERANCE, rel_tol=1e-3)
    return bool(one == other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 jobs, one of them GPAW; ends after the first faults")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--gpaw", type=int, default=20)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=7200.0, help="seconds after which it counts as stuck")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="work there and keep it")
    given = parser.parse_args()
    if given.quick:
        given.jobs, given.gpaw, given.kills, given.limit = 20, 1, 10, 240.0
    base = given.keep or Path(tempfile.mkdtemp(prefix="materia-exactly-once-"))
    base.mkdir(exist_ok=True)
    began, longest_s = time.monotonic(), 2.0 if given.quick else 12.0
    root, calm = base / "disturbed", base / "calm"
    specs = jobs(root, given.jobs, given.gpaw, given.seed, longest_s)
    prepare(root, specs)
    chaos = Chaos(
        root,
        given.seed,
        controller=1 if given.quick else 6,
        nodes=1 if given.quick else 10,
        pause_s=(1, 3) if given.quick else (8, 20),
    )
    deaths = disturbed(root, given.kills, 10 if given.quick else 10_000, given.seed, chaos, given.limit)
    cluster("up")
    prepare(calm, jobs(calm, given.jobs, given.gpaw, given.seed, longest_s))
    undisturbed(calm, given.limit)

    ledger, quiet = ledger_of(root), ledger_of(calm)
    outcomes = {spec.key: ledger.outcome(spec.key) for spec in specs}
    accounted, results = completed_by_accounting(root), by_result(root)
    ended_well = (OutcomeKind.COMPLETED, OutcomeKind.FAILED)
    expected = [key for key, o in outcomes.items() if o is not None and o.kind in ended_well]
    slurm = subprocess.run(["sinfo", "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    missed = sorted(driver.submit_path_lines() - set((root / "lines").read_text().split()))
    different = [
        key
        for key, o in outcomes.items()
        if (calm_one := quiet.outcome(key)) is None
        or o is None
        or (o.kind, o.reason) != (calm_one.kind, calm_one.reason)
        or not same(dict(o.values), dict(calm_one.values))
    ]
    figures = {
        "jobs": len(specs),
        "gpaw_jobs": given.gpaw,
        "kills": deaths["at_lines"] + deaths["at_random"],
        "kills_at_lines_of_the_submit_path": deaths["at_lines"],
        "lines_of_the_submit_path": len(driver.submit_path_lines()),
        "lines_not_reached": missed,
        "controller_kills": chaos.done["controller"],
        "node_kills": chaos.done["node"],
        "attempts_ended": attempts_ended(root),
        "replies": {k.removeprefix("sbatch_"): v for k, v in deaths.items() if k.startswith("sbatch_")},
        "lost": sum(accounted[key] == 0 and results[key] == 0 for key in expected),
        "twice": sum(count > 1 for key, count in accounted.items()),
        "published_twice": sum(count > 1 for count in results.values()),
        "stuck": sum(o is None for o in outcomes.values()),
        "matches_undisturbed": not different,
        "different": different[:20],
        "states": {state.value: n for state, n in ledger.counts().items()},
        "wall_s": round(time.monotonic() - began),
        "seed": given.seed,
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine()},
        "versions": {"python": platform.python_version(), "gpaw": version("gpaw"), "slurm": slurm},
    }
    if given.out:
        given.out.write_text(json.dumps(figures, indent=1) + "\n")
    if given.keep is None:
        shutil.rmtree(base)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
