"""What relaxing six crystals with CHGNet costs, and whether they distort: one job each, in processes of their own.

    python experiments/cost/potentials.py FOLDER

Needs `pip install 'materia[potentials]'`; some minutes on one core. One line a job: CPU seconds with the start,
peak memory, and what was found. The figures are in docs/engines.md, and behind _POTENTIAL and _POTENTIAL_MB in
src/materia/simulation/_cost.py.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from ase.build import bulk

from materia.compute import JobManager, LocalBackend
from materia.compute.testing import open_ledger
from materia.crystal import Crystal
from materia.simulation import level, make_job

CORNERS = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
CRYSTALS = {
    "Si diamond": Crystal.from_ase(bulk("Si", "diamond", a=5.6)),
    "GaAs zinc blende": Crystal.from_ase(bulk("GaAs", "zincblende", a=5.6)),
    "MgO rock salt": Crystal.from_ase(bulk("MgO", "rocksalt", a=4.4)),
    "AlN wurtzite": Crystal.from_ase(bulk("AlN", "wurtzite", a=3.2, c=5.0)),
    "CsPbI3 cubic perovskite": Crystal.from_species(np.eye(3) * 6.3, ["Cs", "Pb", "I", "I", "I"], CORNERS),
    "Al fcc": Crystal.from_ase(bulk("Al", "fcc", a=4.1)),
}


def main() -> int:
    folder, chgnet = Path(sys.argv[1]), level("chgnet")
    folder.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(folder)
    for name, crystal in CRYSTALS.items():
        for recipe in ("relax", "distorts"):
            ledger.add(make_job(recipe, crystal, chgnet, name=f"{name}/{recipe}"))
    manager = JobManager(ledger, LocalBackend(cores=1), folder)
    while manager.active:
        manager.advance()
        time.sleep(1)
    for job in ledger.jobs():
        assert job.outcome is not None
        if not job.outcome.ok:
            print(f"{job.spec.name:34} {job.outcome.reason}: {job.outcome.message}")
            continue
        values, used = job.outcome.values, job.outcome.provenance
        found = f"{values['n_steps']} steps"
        if "distortion_energy" in values:
            found += (
                f", {job.spec.features['n_supercell']:.0f} atoms, {1000 * values['distortion_energy']:.1f} meV/atom"
            )
            found += f", {values['child_prototype']}" if "child" in values else ""
        print(
            f"{job.spec.name:34} {used['cpu_s']:5.1f} s (expected {job.spec.features['estimate_s']:5.1f}), "
            f"{used['compute']['max_rss_mb']:5.0f} MB (expected {job.spec.features['estimate_mb']:5.0f})  {found}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
