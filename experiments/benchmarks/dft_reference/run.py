"""DFT of level ``standard`` against published figures: gaps, lattice constants, equations of state, HSE06 and GLLB-SC.

    python experiments/benchmarks/dft_reference/run.py --work FOLDER [--quick] [--parts gaps lattice ...]
        [--store FOLDER ...] [--collect] [--experiment FILE] [--out FILE]

One process per calculation, the cheapest first. What is finished in the work folder, or in a store of jobs
(``KEY/ATTEMPT/result.json``), is not computed again, so the run can be cut off anywhere and started again. The last
line printed is one JSON object. What is compared with what: README.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase.collections import dcdft
from calculations import RECIPE, ROWS, VOLUMES, Results, element, name_of, wanted

from materia.crystal import Crystal, symmetry_of
from materia.simulation import STANDARD

EV_PER_A3_IN_GPA = 160.21766208
QUICK = ("Si diamond", "C diamond")
Values = dict[tuple[str, str], dict[str, Any]]


def compared(found: Values) -> dict[str, Any]:
    """Every figure that the finished calculations allow.

    Args:
        found: (part, name) -> result.
    """
    values = {key: result["values"] for key, result in found.items() if result["status"] == "completed"}
    rows = {name_of(row): row for row in ROWS["crystals"]}
    return {
        "level": STANDARD.name,
        **_gaps(values, rows),
        **_lattices(values, rows),
        **_deltas(values),
        **_beyond("hse", values, rows, "gap_hse06_on_pbe", "gap_hse06"),
        **_beyond("gllbsc", values, rows, "gap_gllbsc_own", "gap_gllbsc"),
        "spin_orbit": {
            name: {"gap": round(v["gap_pbe_soc"], 3), "shift": round(v["spin_orbit_shift"], 3)}
            for (part, name), v in values.items()
            if part == "spin_orbit"
        },
        **_engines(values),
        "failed": {f"{part} {name}": r["reason"] for (part, name), r in found.items() if r["status"] != "completed"},
    }


def _gaps(values: Values, rows: dict[str, Any]) -> dict[str, Any]:
    """Signed differences of band edges; of a closed gap nothing is published but that it is closed, so those stand
    apart."""
    gaps, closed = {}, {}
    for (part, name), v in values.items():
        if part != "gaps":
            continue
        pair = {"ours": round(v["gap_pbe"] - v["overlap"], 3), "published": rows[name]["gap_pbe"]}
        (gaps if pair["published"] > 0 else closed)[name] = pair
    return {"materials": len(gaps), **_errors(gaps, "gap_mae_pbe", "gap_max_pbe"), "gaps": gaps, "closed": closed}


def _lattices(values: Values, rows: dict[str, Any]) -> dict[str, Any]:
    lattices = {}
    for (part, name), v in values.items():
        if part == "lattice":
            row = rows[name]
            theirs = [row["a"]] if "c" not in row else [row["a"], row["c"]]
            ours = _lattice_constants(Crystal.from_record(v["structure"]))
            percent = [round(100 * (o - t) / t, 3) for o, t in zip(ours, theirs, strict=True)]
            lattices[name] = {"ours": [round(o, 4) for o in ours], "published": theirs, "percent": percent}
    off = [abs(p) for one in lattices.values() for p in one["percent"]]
    summary = {"lattice_mean_percent": round(float(np.mean(off)), 3), "lattice_max_percent": max(off)} if off else {}
    return {"lattice_materials": len(lattices), **summary, "lattices": lattices}


def _lattice_constants(crystal: Crystal) -> list[float]:
    """[a] of a cubic crystal, [a, c] of a hexagonal or tetragonal one, Å, of the conventional cell."""
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    found = symmetry_of("standardize_cell", cell, to_primitive=False, no_idealize=False, symprec=1e-2)
    lengths = np.linalg.norm(found[0] if found else crystal.lattice, axis=1).tolist()
    return [lengths[0]] if np.ptp(lengths) < 1e-3 else [lengths[0], lengths[2]]


def _deltas(values: Values) -> dict[str, Any]:
    deltas = {}
    for symbol in ROWS["elements"]:
        energies = [values.get(("delta", f"{symbol} {v:g}"), {}).get("energy_per_atom") for v in VOLUMES]
        if None not in energies:
            deltas[symbol] = round(_delta_mev(symbol, energies), 2)
    summary = {"delta_mean_mev": round(float(np.mean(list(deltas.values()))), 2)} if deltas else {}
    return {"delta_elements": len(deltas), **summary, "deltas": deltas}


def _delta_mev(symbol: str, energies: list[float]) -> float:
    """Delta against the all-electron equation of state, meV/atom (Lejaeghere et al., Science 351, aad3000 (2016))."""
    from ase.eos import EquationOfState
    from ase.utils.deltacodesdft import delta

    reference = dcdft.data[symbol]
    volumes = [element(symbol, v).volume / element(symbol, v).n_atoms for v in VOLUMES]
    fit = EquationOfState(volumes, energies, "birchmurnaghan")
    fit.fit(warn=False)
    _, bulk_modulus, slope, volume = fit.eos_parameters
    theirs = (reference["wien2k_volume"], reference["wien2k_B"] / EV_PER_A3_IN_GPA, reference["wien2k_Bp"])
    return 1000 * float(delta(volume, bulk_modulus, slope, *theirs))


def _beyond(part: str, values: Values, rows: dict[str, Any], ours: str, theirs: str) -> dict[str, Any]:
    pairs = {
        name: {"ours": round(v[ours], 3), "published": rows[name][theirs]}
        for (of, name), v in values.items()
        if of == part
    }
    return {f"{part}_materials": len(pairs), **_errors(pairs, f"gap_mae_{part}", f"gap_max_{part}"), part: pairs}


def measured(figures: dict[str, Any], file: Path) -> dict[str, Any]:
    """Differences of gaps from measured ones, eV: means and medians alone, the set's licence is not stated.

    Args:
        figures: of :func:`compared`.
        file: table of composition and measured gap (Zhuo et al. 2018), of which the median of a formula is taken.
    """
    found: dict[str, list[float]] = {}
    with gzip.open(file, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["composition"], []).append(float(row["gap_expt_eV"]))
    summary: dict[str, Any] = {}
    for part in ("hse", "gllbsc"):
        for whose in ("ours", "published"):
            pairs = [(p[whose], found[n.split()[0]]) for n, p in figures[part].items() if n.split()[0] in found]
            off = [gap - float(np.median(seen)) for gap, seen in pairs]
            if off:
                summary[f"{part}_{whose}"] = {
                    "materials": len(off),
                    "mean": round(float(np.mean(off)), 3),
                    "mean_absolute": round(float(np.mean(np.abs(off))), 3),
                    "median_absolute": round(float(np.median(np.abs(off))), 3),
                }
    return summary


def _engines(values: Values) -> dict[str, Any]:
    """Gaps of GPAW less those of Quantum ESPRESSO at the same cell, eV."""
    signed = {key: v["gap_pbe"] - v["overlap"] for key, v in values.items() if key[0] == "espresso"}
    off = {}
    for (part, name), gap in signed.items():
        crystal, _, engine = name.rpartition(" ")
        other = signed.get((part, f"{crystal} espresso"))
        if engine == "gpaw" and other is not None:
            off[crystal] = round(gap - other, 3)
    summary = {"espresso_mean": round(float(np.mean(np.abs(list(off.values())))), 4)} if off else {}
    return {"espresso_materials": len(off), **summary, "gpaw_less_espresso": off}


def _errors(pairs: dict[str, dict[str, Any]], mean: str, largest: str) -> dict[str, float]:
    off = [abs(p["ours"] - p["published"]) for p in pairs.values()]
    return {mean: round(float(np.mean(off)), 4), largest: round(max(off), 4)} if off else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where calculations are kept")
    parser.add_argument("--store", type=Path, nargs="*", default=[], help="finished jobs of earlier campaigns")
    parser.add_argument("--parts", nargs="*", choices=RECIPE, default=list(RECIPE))
    parser.add_argument("--quick", action="store_true", help="the gaps of silicon and diamond")
    parser.add_argument("--collect", action="store_true", help="only what is finished already")
    parser.add_argument("--experiment", type=Path, help="table of measured gaps, zhuo_expt_gap.csv.gz")
    parser.add_argument("--out", type=Path, help="write the result there")
    options = parser.parse_args()
    results, found = Results(options.work, options.store), {}
    for one in wanted(["gaps"] if options.quick else options.parts):
        if options.quick and one.name not in QUICK:
            continue
        result = results.of(one)
        if result is None and not options.collect:
            result = results.compute(one)
            print(one.part, one.name, result["status"], f"{result['provenance'].get('cpu_s', 0):.0f} CPU s", flush=True)
        if result is not None:
            found[one.part, one.name] = result
    figures = compared(found)
    if options.experiment is not None:
        figures["against_experiment"] = measured(figures, options.experiment)
    figures |= {
        "seed": None,
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("materia", "gpaw", "gpaw-data", "ase", "numpy")},
    }
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
