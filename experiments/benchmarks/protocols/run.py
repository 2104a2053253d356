"""How far the results of each protocol are from those of a stricter one: gaps, lattice constants, formation energies.

    python experiments/benchmarks/protocols/run.py --work FOLDER [--collect] [--jobs 2] [--out FILE] [--ship]
    python experiments/benchmarks/protocols/run.py --quick

One process per calculation. What is finished in the work folder is not computed again, so the run can be cut off
anywhere and started again. The last line printed is one JSON object. What is compared with what: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

from materia.crystal import Crystal
from materia.simulation import PROTOCOLS, SCREEN, STRICT, Level, make_job
from materia.stability import References

# What is hard: 2p anions, semicore d, copper, heavy elements, and silicon's edge between the k-points. Å, near PBE's.
COMPOUNDS = {
    "Si": ("diamond", 5.47), "GaAs": ("zincblende", 5.75), "MgO": ("rocksalt", 4.26), "AlN": ("zincblende", 4.40),
    "LiF": ("rocksalt", 4.06), "CuCl": ("zincblende", 5.44), "GaN": ("zincblende", 4.55), "ZnO": ("zincblende", 4.63),
    "ZnTe": ("zincblende", 6.18), "MgTe": ("zincblende", 6.52), "NaCl": ("rocksalt", 5.69), "PbTe": ("rocksalt", 6.56),
}  # fmt: skip
# Gallium's reference has four atoms and many k-points: its compounds are compared in gap and lattice constant alone.
WITHOUT_ENERGY = ("GaAs", "GaN")
BEYOND = STRICT.model_copy(update={"name": "beyond strict", "cutoff_ev": 1300.0, "kpoint_density": 6.5})
BEYOND_OF = ("Si", "MgO")
TIMEOUT_S = 2 * 3600


class Work:
    """Jobs in a folder, each in a process of its own, by key."""

    def __init__(self, folder: Path, collect: bool) -> None:
        self._folder, self._collect = folder, collect

    def result(self, recipe: str, crystal: Crystal, level: Level, name: str) -> dict[str, Any] | None:
        """Values and CPU seconds of the job; None where it failed, or is not there and nothing is to be computed."""
        job = make_job(recipe, crystal, level, name=f"{name}/{recipe}/{level.name}")
        folder = self._folder / job.key / "1"
        file = folder / "result.json"
        if not file.is_file():
            if self._collect:
                return None
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "job.json").write_text(json.dumps({**job.payload, "attempt": 1}))
            argv, environment = [sys.executable, *job.argv[1:3]], {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(argv, cwd=folder, env=environment, timeout=TIMEOUT_S, check=True, capture_output=True)
        found = json.loads(file.read_text())
        done: bool = found["status"] == "completed"
        cpu_s = found["provenance"].get("cpu_s", 0.0)
        print(f"{job.name}: {found['status']}, {cpu_s:.0f} CPU s", file=sys.stderr, flush=True)
        return {**found["values"], "cpu_s": cpu_s} if done else None


def compound(work: Work, name: str, level: Level) -> dict[str, float] | None:
    """Relaxed, then its gap: eV (an overlap of the bands counts as negative), Å³/atom, eV/atom, CPU seconds."""
    structure, a = COMPOUNDS[name]
    relaxed = work.result("relax", Crystal.from_ase(bulk(name, structure, a=a)), level, name)
    if relaxed is None:
        return None
    crystal = Crystal.from_record(relaxed["structure"])
    gap = work.result("gap", crystal, level, name)
    if gap is None:
        return None
    return {
        "gap": gap["gap_pbe"] - gap["overlap"],
        "volume": crystal.volume / crystal.n_atoms,
        "energy": relaxed["energy_per_atom"],
        "cpu_s": relaxed["cpu_s"] + gap["cpu_s"],
    }


def element(work: Work, symbol: str, level: Level) -> float | None:
    """Energy of the reference phase, eV/atom."""
    reference = References.default().elements[symbol]
    if reference.crystal is None:
        return None
    found = work.result(reference.recipe, reference.crystal, level, symbol)
    return None if found is None else float(found["energy_per_atom"])


def table(work: Work, level: Level, names: Iterable[str], with_energy: bool, jobs: int) -> dict[str, dict[str, float]]:
    """name -> gap (eV), volume (Å³/atom), formation energy (eV/atom; where it is asked for), CPU seconds."""
    names = list(names)
    crystals = {name: Crystal.from_ase(bulk(name, COMPOUNDS[name][0], a=COMPOUNDS[name][1])) for name in names}
    symbols = sorted({e for n in names if with_energy and n not in WITHOUT_ENERGY for e in crystals[n].elements})
    with ThreadPoolExecutor(jobs) as pool:
        rows = dict(zip(names, pool.map(lambda n: compound(work, n, level), names), strict=True))
        energies = dict(zip(symbols, pool.map(lambda e: element(work, e, level), symbols), strict=True))
    found = {}
    for name, row in rows.items():
        if row is None:
            continue
        energy = row.pop("energy")
        parts = [energies.get(symbol) for symbol in crystals[name].symbols]
        if with_energy and name not in WITHOUT_ENERGY and None not in parts:
            row["formation_energy"] = energy - float(np.mean([part for part in parts if part is not None]))
        found[name] = row
    return found


def deviations(of: dict[str, dict[str, float]], against: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Mean and largest deviation: gaps in eV, lattice constants in %, formation energies in meV/atom."""
    both = [(row, against[name], name) for name, row in of.items() if name in against]
    off = {
        "gap_ev": {name: a["gap"] - b["gap"] for a, b, name in both},
        "lattice_percent": {name: 100 * ((a["volume"] / b["volume"]) ** (1 / 3) - 1) for a, b, name in both},
        "formation_mev": {
            name: 1000 * (a["formation_energy"] - b["formation_energy"])
            for a, b, name in both
            if "formation_energy" in a and "formation_energy" in b
        },
    }
    return {
        what: {
            "mean": round(float(np.mean(np.abs(list(values.values())))), 3),
            "largest": round(max(values.values(), key=abs), 3),
            "of": max(values, key=lambda name: abs(values[name])),
            "compounds": len(values),
        }
        for what, values in off.items()
        if values
    }


def ship(figures: dict[str, Any]) -> None:
    """What the package says of its protocols."""
    beyond = f"{BEYOND.cutoff_ev:g} eV and {BEYOND.kpoint_density:g} k-points per 1/Å"
    levels = {name: {"against": f"level {STRICT.name}", **found} for name, found in figures["against_strict"].items()}
    levels[STRICT.name] = {"against": beyond, **figures["strict_against_beyond"]}
    card = {
        "title": "Expected errors of GPAW's protocols",
        "source": "experiments/benchmarks/protocols",
        "units": {"gap_ev": "eV", "lattice_percent": "%", "formation_mev": "meV/atom", "cost": "of the cost of strict"},
        "licence": "CC-BY-4.0",
        "levels": levels,
    }
    file = Path(__file__).parents[3] / "data" / "protocols.json"
    file.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where calculations are kept")
    parser.add_argument("--quick", action="store_true", help="silicon at screen and strict, no elements")
    parser.add_argument("--collect", action="store_true", help="only what is finished already")
    parser.add_argument("--jobs", type=int, default=2, help="calculations at a time")
    parser.add_argument("--out", type=Path, help="write the result there")
    parser.add_argument("--ship", action="store_true", help="write data/protocols.json")
    options = parser.parse_args()
    if options.work is None and not options.quick:
        parser.error("--work says where calculations are kept; without, only --quick runs")
    with tempfile.TemporaryDirectory() as temporary:
        work = Work(options.work or Path(temporary), options.collect)
        names = ["Si"] if options.quick else list(COMPOUNDS)
        levels = (SCREEN, STRICT) if options.quick else PROTOCOLS
        tables = {one.name: table(work, one, names, not options.quick, options.jobs) for one in levels}
        if not options.quick:
            tables[BEYOND.name] = table(work, BEYOND, BEYOND_OF, False, options.jobs)
    strict = tables[STRICT.name]
    cost = {name: sum(rows[n]["cpu_s"] for n in rows if n in strict) for name, rows in tables.items()}
    of_strict = {name: sum(strict[n]["cpu_s"] for n in rows if n in strict) for name, rows in tables.items()}
    figures = {
        "against_strict": {
            name: {**deviations(rows, strict), "cost": round(cost[name] / of_strict[name], 2)}
            for name, rows in tables.items()
            if name not in (STRICT.name, BEYOND.name) and of_strict[name]
        },
        "strict_against_beyond": deviations(strict, tables.get(BEYOND.name, {})),
        "tables": {
            name: {n: {k: round(v, 4) for k, v in row.items()} for n, row in rows.items()}
            for name, rows in tables.items()
        },
        "seed": None,
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("materia", "gpaw", "gpaw-data", "ase", "numpy")},
    }
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    if options.ship:
        ship(figures)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
