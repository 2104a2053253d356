"""A small file of labelled compounds with a made-up property, some rows bad, and settings that train in a second."""

from __future__ import annotations

import json
from pathlib import Path

from materia.crystal import Crystal, electronegativity
from surrogate_factory import rocksalt, zincblende

QUANTITY = "stiffness:GPa:intensive:0"
TINY = ("--set", "channels=8", "--set", "layers=1", "--set", "cutoff=4.0", "--set", "replicas=2",
        "--members", "2", "--batch-size", "8", "--device", "cpu", "--start", "none")  # fmt: skip


def compounds() -> list[Crystal]:
    return [
        (zincblende, rocksalt)[(i + j) % 2](cation, anion, 4.4 + 0.12 * i + 0.1 * j)
        for i, cation in enumerate(["Li", "Na", "K", "Mg", "Ca", "Zn"])
        for j, anion in enumerate(["O", "F", "S", "Cl"])
    ]


def stiffness(crystal: Crystal) -> float:
    a, b = crystal.elements
    return 40.0 * abs(electronegativity(a) - electronegativity(b))


def write_labelled(path: Path, bad: bool = True) -> Path:
    rows = [
        json.dumps({"id": f"c{i}", "structure": c.to_record(), "targets": {"K_GPa": stiffness(c)}})
        for i, c in enumerate(compounds())
    ]
    if bad:
        overlap = {**compounds()[0].to_record(), "frac_coords": [[0, 0, 0], [0, 0, 0]]}
        rows.insert(3, json.dumps({"id": "twice", "structure": overlap, "targets": {"K_GPa": 1.0}}))
        rows.insert(9, '{"id": "half')
    path.write_text("\n".join(rows) + "\n")
    return path
