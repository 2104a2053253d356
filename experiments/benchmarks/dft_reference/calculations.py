"""Which calculations the benchmark consists of, and where their results are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.collections import dcdft
from ase.spacegroup import crystal as with_space_group

from materia.crystal import Crystal, symmetry_of
from materia.record import JobSpec
from materia.simulation import ESPRESSO_STANDARD, STANDARD, engine, lacking, make_job

ROWS = json.loads(Path(__file__).with_name("rows.json").read_text())
# Volumes of the equations of state over the all-electron one: those of the Delta protocol.
VOLUMES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)
RECIPE = {
    "gaps": "gap",
    "lattice": "relax",
    "delta": "static",
    "hse": "hybrid",
    "gllbsc": "gllbsc",
    "spin_orbit": "spin_orbit",
    "espresso": "gap",
}
HOLD_A_GAP = ("hybrid", "spin_orbit", "masses")
TIMEOUT_S = 4 * 3600


@dataclass(frozen=True)
class Wanted:
    """One calculation: the part it belongs to, what it is of, and its job."""

    part: str
    name: str
    job: JobSpec


def name_of(row: dict[str, Any]) -> str:
    return f"{row['formula']} {row['prototype']}"


def published(row: dict[str, Any]) -> Crystal:
    """The crystal of a row at its published geometry, as a primitive cell."""
    a, formula, kind = row["a"], row["formula"], row["prototype"]
    if kind == "chalcopyrite":
        sites = [(0, 0, 0), (0, 0, 0.5), (row["x"], 0.25, 0.125)]
        group = {"spacegroup": 122, "cellpar": [a, a, row["c"], 90, 90, 90], "primitive_cell": True}
        return Crystal.from_ase(with_space_group(["Cu", "Ga", "S"], basis=sites, **group))
    if kind == "perovskite":
        half = 0.5
        sites = [(0, 0, 0), (half, half, half), (half, half, 0), (half, 0, half), (0, half, half)]
        return Crystal.from_species(np.eye(3) * a, ["Cs", "Sn", "I", "I", "I"], sites)
    if kind == "wurtzite":
        return Crystal.from_ase(bulk(formula, kind, a=a, c=row["c"], u=row["u"]))
    return Crystal.from_ase(bulk(formula, kind, a=a))


def element(symbol: str, volume: float) -> Crystal:
    """The crystal of an element as ASE ships it for the Delta test, primitive, its volume times a factor."""
    whole = Crystal.from_ase(dcdft[symbol])
    cell = (whole.lattice, whole.frac_coords, whole.numbers)
    found = symmetry_of("standardize_cell", cell, to_primitive=True, no_idealize=True, symprec=1e-4)
    lattice, positions, numbers = cell[0], cell[1], cell[2]
    if found is not None:
        lattice, positions, numbers = found
    return Crystal(np.asarray(lattice) * volume ** (1 / 3), numbers, positions)


def wanted(parts: Iterable[str]) -> Iterator[Wanted]:
    """Every calculation of the parts, the cheapest first within each. A part that cannot be done here is left out."""
    for part in parts:
        if why_not := _impossible(part):
            print(f"{part} is left out: {why_not}", file=sys.stderr)
            continue
        jobs = list(_jobs(part))
        cost = dict.fromkeys((w.name.split()[0] for w in jobs), 0.0)
        for w in jobs:
            cost[w.name.split()[0]] += w.job.features["estimate_s"]
        # an equation of state is worth nothing with a point missing: those of one element stay together
        yield from sorted(jobs, key=lambda w: (cost[w.name.split()[0]], w.name))


def _impossible(part: str) -> str:
    program = engine((ESPRESSO_STANDARD if part == "espresso" else STANDARD).engine)
    capabilities = program.capabilities()
    lacks = lacking(RECIPE[part], program.name, capabilities)
    return capabilities.missing or (lacks[0] if lacks else "")


def _jobs(part: str) -> Iterator[Wanted]:
    rows = ROWS["crystals"]
    if part == "delta":
        for symbol in ROWS["elements"]:
            for volume in VOLUMES:
                job = make_job("static", element(symbol, volume), STANDARD, name=f"{symbol} {volume:g}")
                yield Wanted(part, job.name, job)
    elif part == "espresso":
        own = [row for row in ROWS["engines"] if "same_as" not in row]
        same = {name for row in ROWS["engines"] for name in row.get("same_as", ())}
        for row in own + [row for row in rows if name_of(row) in same]:
            for level in (STANDARD, ESPRESSO_STANDARD):
                job = make_job("gap", published(row), level, name=f"{name_of(row)} {level.engine}")
                yield Wanted(part, job.name, job)
    else:
        for row in rows:
            beyond = row.get("beyond", False) and (part == "hse" or "gap_gllbsc" in row)
            if part not in ("hse", "gllbsc") or beyond:
                yield Wanted(part, name_of(row), make_job(RECIPE[part], published(row), STANDARD, name=name_of(row)))


class Results:
    """Finished jobs of the work folder and of stores, by key; relaxed crystals of stores also by what they are."""

    def __init__(self, work: Path, stores: Iterable[Path]) -> None:
        self.work = work
        self._folders = [work, *stores]
        self._relaxed: dict[tuple[str, int, str], dict[str, Any]] = {}
        for store in stores:
            for file in sorted(store.glob("*/*/job.json")):
                job = json.loads(file.read_text())
                if job["recipe"] == "relax" and job["level"]["name"] == STANDARD.name:
                    self._remember(file.with_name("result.json"), job["level_hash"])

    def _remember(self, file: Path, level_hash: str) -> None:
        result = json.loads(file.read_text()) if file.is_file() else {"status": "unfinished"}
        if result["status"] == "completed":
            kind = _kind(Crystal.from_record(result["values"]["structure"]))
            self._relaxed.setdefault((*kind, level_hash), result)

    def of(self, one: Wanted) -> dict[str, Any] | None:
        """The finished result, or None. The recipes beyond PBE hold all of a gap. A relaxed crystal is the same from
        wherever its relaxation started: same composition and space group, same level and PAW sets (``level_hash`` of a
        job has their digests)."""
        keys = [one.job.key]
        if one.job.payload["recipe"] == "gap" and one.job.payload["level"]["engine"] == STANDARD.engine:
            crystal = Crystal.from_record(one.job.payload["structure"])
            keys += [make_job(recipe, crystal, STANDARD).key for recipe in HOLD_A_GAP]
        for folder, key in product(self._folders, keys):
            for file in sorted(folder.glob(f"{key}/*/result.json"), reverse=True):
                return dict(json.loads(file.read_text()))
        if one.part == "lattice":
            kind = _kind(Crystal.from_record(one.job.payload["structure"]))
            return self._relaxed.get((*kind, one.job.payload["level_hash"]))
        return None

    def compute(self, one: Wanted) -> dict[str, Any]:
        """Run the job in a process of its own; its result stays in the work folder."""
        folder = self.work / one.job.key / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "job.json").write_text(json.dumps({**one.job.payload, "attempt": 1}))
        argv = [sys.executable, *one.job.argv[1:3]]  # nothing starts ranks here
        subprocess.run(argv, cwd=folder, timeout=TIMEOUT_S, check=True, capture_output=True)
        return dict(json.loads((folder / "result.json").read_text()))


def _kind(crystal: Crystal) -> tuple[str, int]:
    found = symmetry_of("get_spacegroup", (crystal.lattice, crystal.frac_coords, crystal.numbers), symprec=1e-2)
    return crystal.formula, int(found.split("(")[1].rstrip(")")) if found else 1
