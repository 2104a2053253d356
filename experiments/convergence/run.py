"""Convergence of energy, gap and pressure with cutoff and k-point density: how level ``standard`` was chosen.

    python experiments/convergence/run.py [--quick] [--out experiments/convergence/result.json]

Eight compounds that span what is hard: covalent (Si), 2p anions (MgO, AlN, LiF), semicore d (ZnS, CuCl, GaAs, GaN).
Each is computed at fixed PBE-near cells; deviations are against the largest cutoff or density. About 30 CPU minutes;
resumable: finished points are read from the result file. The last line is one JSON object with the worst deviations
of the chosen level.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.build import bulk

from materia.crystal import Crystal
from materia.simulation import STANDARD, engine

COMPOUNDS = {
    "Si": ("diamond", 5.47), "GaAs": ("zincblende", 5.75), "MgO": ("rocksalt", 4.26), "AlN": ("zincblende", 4.40),
    "LiF": ("rocksalt", 4.06), "ZnS": ("zincblende", 5.45), "CuCl": ("zincblende", 5.44),
    "GaN": ("zincblende", 4.55),
}  # fmt: skip
CUTOFFS = (400.0, 500.0, 600.0, 700.0, 800.0, 1000.0)
DENSITIES = (2.0, 2.5, 3.5, 5.0)
EV_PER_A3_IN_GPA = 160.21766208


def point(name: str, cutoff: float, density: float) -> dict[str, float]:
    """One self-consistent calculation: eV/atom, eV, GPa, CPU seconds."""
    structure, a = COMPOUNDS[name]
    atoms = bulk(name, structure, a=a)
    level = STANDARD.model_copy(update={"cutoff_ev": cutoff, "kpoint_density": density})
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        atoms.calc = engine("gpaw").calculator(Crystal.from_ase(atoms), level, Path(folder) / "scf.txt")
        energy = atoms.get_potential_energy() / len(atoms)
        pressure = -float(np.mean(atoms.get_stress()[:3])) * EV_PER_A3_IN_GPA
        occupied = round(atoms.calc.get_number_of_electrons()) // 2
        kpoints = len(atoms.calc.get_ibz_k_points())
        bands = np.array([atoms.calc.get_eigenvalues(kpt=k) for k in range(kpoints)])
    gap = float(bands[:, occupied].min() - bands[:, occupied - 1].max())
    used = time.process_time() - started
    return {"energy_per_atom": energy, "grid_gap": gap, "pressure": pressure, "n_kpoints": kpoints, "cpu_s": used}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="silicon only, two points")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    options = parser.parse_args()
    done = json.loads(options.out.read_text()) if options.out.is_file() and not options.quick else {}
    names = ["Si"] if options.quick else list(COMPOUNDS)
    cutoffs = (STANDARD.cutoff_ev, 1000.0) if options.quick else CUTOFFS
    densities = () if options.quick else DENSITIES
    for name in names:
        table = done.setdefault(name, {})
        wanted = [(c, STANDARD.kpoint_density) for c in cutoffs] + [(STANDARD.cutoff_ev, d) for d in densities]
        for cutoff, density in dict.fromkeys(wanted):
            key = f"{cutoff:g} eV, {density:g} /Å"
            if key not in table:
                table[key] = point(name, cutoff, density)
                if not options.quick:
                    options.out.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
            print(name, key, {k: round(v, 4) for k, v in table[key].items()}, flush=True)
    chosen = f"{STANDARD.cutoff_ev:g} eV, {STANDARD.kpoint_density:g} /Å"
    references = [f"1000 eV, {STANDARD.kpoint_density:g} /Å"]
    if not options.quick:
        references.append(f"{STANDARD.cutoff_ev:g} eV, {max(DENSITIES):g} /Å")
    worst = {
        f"{quantity} against {reference}": max(abs(t[chosen][quantity] - t[reference][quantity]) for t in done.values())
        for reference in references
        for quantity in ("energy_per_atom", "grid_gap", "pressure")
    }
    print(json.dumps(worst, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
