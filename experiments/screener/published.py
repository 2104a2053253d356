"""Published sets of calculated properties, as labelled structures (see README.md for what they are)."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia import quantities as q
from materia.crystal import Crystal
from materia.surrogate import Example

HEAVIEST = 100.0  # m_e: the masses' own tails, up to 1e7, are numerical noise of flat bands


@dataclass(frozen=True)
class Source:
    """One file, and how its fields become labels.

    Attributes:
        file: below the data folder.
        columns: field -> quantity.
        metal: field with a PBE gap that tells metals (0) from the rest.
        shared: whether rows of one Materials Project id are one structure with those of other such sources.
    """

    file: str
    columns: Mapping[str, str]
    metal: str | None = None
    shared: bool = False


def clipped_mass(value: float) -> float:
    return min(value, HEAVIEST)


SOURCES = (
    Source(
        "mp_20_biternary/mp_20_biternary.jsonl.gz",
        {"formation_energy_per_atom_eV": q.FORMATION_ENERGY_MP, "band_gap_pbe_eV": q.GAP_MP},
        metal="band_gap_pbe_eV",
        shared=True,
    ),
    Source(
        "multifidelity_gaps/multifidelity_gaps.jsonl.gz",
        {"gap_pbe_eV": q.GAP_MP, "gap_hse_eV": q.GAP_HSE06, "gap_gllbsc_eV": q.GAP_GLLBSC},
        metal="gap_pbe_eV",
        shared=True,
    ),
    Source(
        "petousis_dielectric/petousis_dielectric.jsonl.gz",
        {"eps_electronic_tensor": q.DIELECTRIC_ELECTRONIC},
    ),
    Source(
        "boltztrap_effective_mass/boltztrap_effective_mass.jsonl.gz",
        {"m_n": q.ELECTRON_MASS, "m_p": q.HOLE_MASS},
    ),
    Source("dejong_elastic/dejong_elastic.jsonl.gz", {"K_VRH_GPa": q.BULK_MODULUS, "G_VRH_GPa": q.SHEAR_MODULUS}),
    Source("matbench_phonons/matbench_phonons.jsonl.gz", {"last_phdos_peak_cm-1": q.PHONON_PEAK}),
    Source(
        "jarvis_dft3d_subset/jarvis_dft3d_subset.jsonl.gz",
        {"exfoliation_energy_meV_per_atom": q.EXFOLIATION_ENERGY},
    ),
)
CONVERT: dict[str, Callable[[float], float]] = {q.ELECTRON_MASS: clipped_mass, q.HOLE_MASS: clipped_mass}
TARGETS = (
    q.FORMATION_ENERGY_MP,
    q.FORMATION_ENERGY,
    q.GAP_MP,
    q.GAP_PBE,
    q.GAP_DIRECT_PBE,
    q.GAP_HSE06,
    q.GAP_GLLBSC,
    q.IS_METAL,
    q.DIELECTRIC_ELECTRONIC,
    q.ELECTRON_MASS,
    q.HOLE_MASS,
    q.PHONON_PEAK,
    q.BULK_MODULUS,
    q.SHEAR_MODULUS,
    q.EXFOLIATION_ENERGY,
)


def read(data: Path, max_atoms: int) -> list[Example]:
    """One example per structure, with every label known for it."""
    crystals: dict[str, Crystal] = {}
    labels: dict[str, dict[str, Any]] = {}
    for source in SOURCES:
        with gzip.open(data / source.file, "rt") as lines:
            for row in map(json.loads, lines):
                found = read_labels(source, row["targets"])
                if len(row["structure"]["species"]) > max_atoms or not found:
                    continue
                key = row["id"] if source.shared else f"{source.file}/{row['id']}"
                crystals.setdefault(key, Crystal.from_record(row["structure"]))
                labels[key] = found | labels.get(key, {})
    return [Example(crystals[key], labels[key], crystals[key].formula) for key in sorted(crystals)]


def read_labels(source: Source, fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, name in source.columns.items():
        value = fields.get(field)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        if q.quantity(name).form is q.Form.LOG and value <= 0:
            continue
        found[name] = CONVERT[name](float(value)) if name in CONVERT else value
    gap = None if source.metal is None else fields.get(source.metal)
    if gap is not None:
        found[q.IS_METAL] = float(gap == 0)
    return found
