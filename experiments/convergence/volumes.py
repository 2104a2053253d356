"""Whether energies are converged with the PAW set of gallium that materia ships (data/paw).

    python experiments/convergence/volumes.py [--out experiments/convergence/volumes.json]

GaAs and GaN, zincblende, at the cutoff of level ``standard``, 100 and 200 eV above it, at two volumes 4 % apart: total
energies and their difference. The same 4x4x4 grid everywhere: what plane waves leave out hardly depends on it. About
10 CPU minutes; the last line is one JSON object: what is left at ``standard``, meV/atom.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from ase.build import bulk

from materia.crystal import Crystal
from materia.simulation import STANDARD, engine

LATTICE_CONSTANTS = {"GaAs": 5.75, "GaN": 4.55}  # Å, near PBE's
CUTOFFS = [STANDARD.cutoff_ev + more for more in (0.0, 100.0, 200.0)]
VOLUMES = (1.0, 0.96)
GRID = {"size": (4, 4, 4), "gamma": True}


def energy(formula: str, volume: float, cutoff: float) -> float:
    """Energy, eV/atom.

    Args:
        volume: over that of the lattice constant above.
        cutoff: eV.
    """
    atoms = bulk(formula, "zincblende", a=LATTICE_CONSTANTS[formula] * volume ** (1 / 3))
    level = STANDARD.model_copy(update={"cutoff_ev": cutoff})
    with tempfile.TemporaryDirectory() as folder:
        atoms.calc = engine("gpaw").calculator(Crystal.from_ase(atoms), level, Path(folder) / "scf.txt", kpts=GRID)
        return float(atoms.get_potential_energy()) / len(atoms)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("volumes.json"))
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    left: dict[str, float] = {}
    for formula in LATTICE_CONSTANTS:
        table = found[formula] = {}
        for cutoff in CUTOFFS:
            energies = {f"{volume:g} V": energy(formula, volume, cutoff) for volume in VOLUMES}
            table[f"{cutoff:g} eV"] = {**energies, "difference": energies["0.96 V"] - energies["1 V"]}
            print(formula, cutoff, {k: round(v, 5) for k, v in table[f"{cutoff:g} eV"].items()}, flush=True)
        first, last = table[f"{CUTOFFS[0]:g} eV"], table[f"{CUTOFFS[-1]:g} eV"]
        left |= {f"{formula} {k}": round(1000 * (first[k] - last[k]), 2) for k in ("1 V", "difference")}
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(left))
    return 0


if __name__ == "__main__":
    sys.exit(main())
