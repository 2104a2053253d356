"""Compute the elemental references at level ``standard`` and write data/references.json.

    python experiments/references/run.py --folder runs/references [--only Si Ge]

Resumable: finished jobs in the folder are not run again. About an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from structures import references

from materia.crystal import Crystal
from materia.simulation import STANDARD, level_hash, make_job
from materia.stability import ElementReference, References


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/references"), help="job folders go here")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "data" / "references.json")
    parser.add_argument("--only", nargs="*", help="symbols of the elements to compute")
    parser.add_argument("--collect", action="store_true", help="write what is finished, compute nothing")
    options = parser.parse_args()
    elements, digests = {}, {}
    for element, phase, recipe, crystal in references():
        if options.only and element not in options.only:
            continue
        job = make_job(recipe, crystal, STANDARD, name=f"{element}/{phase}")
        folder = options.folder / job.key / "1"
        if not (folder / "result.json").is_file() and not options.collect:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "job.json").write_text(json.dumps({**job.payload, "attempt": 1}))
            with (folder / "out.txt").open("w") as log:
                argv, environment = [sys.executable, *job.argv[1:]], {**os.environ, "OMP_NUM_THREADS": "1"}
                subprocess.run(argv, cwd=folder, env=environment, stdout=log, stderr=log, check=True)
        if not (folder / "result.json").is_file():
            print(f"{element:<3} {phase}: not computed")
            continue
        result = json.loads((folder / "result.json").read_text())
        if result["status"] != "completed":
            print(f"{element:<3} {phase}: failed: {result['reason']}: {result['message']}")
            continue
        values = result["values"]
        digests |= result["provenance"]["pseudopotentials"]
        elements[element] = ElementReference(
            energy_per_atom=values["energy_per_atom"],
            phase=phase,
            recipe=recipe,
            crystal=Crystal.from_record(values["structure"]) if "structure" in values else crystal,
            job=job.key,
            cpu_s=round(result["provenance"]["cpu_s"], 1),
            versions=result["provenance"]["versions"],
        )
        print(f"{element:<3} {phase:<16} {values['energy_per_atom']:10.4f} eV/atom")
    card = {
        "title": "Elemental reference energies, GPAW PBE",
        "settings": STANDARD.model_dump(mode="json"),
        "notes": "Energies relative to GPAW's atomic references; uncorrected PBE: O2, N2 and halogens are the "
        "molecules, sulfur is the boxed S8 ring, graphite and black phosphorus stay at the measured geometry.",
        "licence": "CC-BY-4.0",
    }
    References(STANDARD.name, level_hash(STANDARD), elements, digests, card).save(options.out)
    print(f"wrote {len(elements)} elements to {options.out}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
