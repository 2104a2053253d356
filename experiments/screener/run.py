"""Train the weights that `materia predict` uses by itself, on published data and the project's own dataset.

    python experiments/screener/run.py --data FOLDER [--out data/weights/screener] [--members 3] [--epochs 30]

FOLDER holds the published sets of SOURCES (gzip JSON lines, one record a line: id, structure, targets). A run that was
cut off goes on from its checkpoints.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from materia import quantities as q
from materia.crystal import Crystal
from materia.data import Dataset
from materia.resources import resource
from materia.surrogate import Example, Surrogate, SurrogateSettings, train

HERE = Path(__file__).parent
HEAVIEST = 100.0  # m_e: the masses' own tails, up to 1e7, are numerical noise of flat bands

CREDIT = (
    "Trained on the Materials Project (CC BY 4.0; A. Jain et al., APL Materials 1, 011002 (2013)): formation "
    "energies and gaps by way of MP-20 (T. Xie et al., ICLR 2022), PBE, HSE06 and GLLB-SC gaps as collected by C. "
    "Chen et al., Nature Computational Science 1, 46 (2021); dielectric tensors of I. Petousis et al., Scientific "
    "Data 4, 160134 (2017); effective masses of F. Ricci et al., Scientific Data 4, 170085 (2017); elastic moduli "
    "of M. de Jong et al., Scientific Data 2, 150009 (2015); phonons of G. Petretto et al., Scientific Data 5, "
    "180065 (2018), as in Matbench (A. Dunn et al., npj Computational Materials 6, 138 (2020)); exfoliation "
    "energies of JARVIS-DFT (K. Choudhary et al., npj Computational Materials 6, 173 (2020)); and the project's own "
    "dataset."
)
NOTES = (
    "Materials Project energies carry its corrections and, for some compounds, +U: they are quantities of their "
    "own, apart from the project's uncorrected PBE ones.",
    "GLLB-SC gaps are not missing at random: that set holds no metals, so that gap_gllbsc says nothing about metals.",
    "Dielectric tensors, effective masses and phonons are known for non-metals only: ask is_metal first.",
    "Effective masses are conductivity masses at 300 K and 1e18 carriers per cm3 averaged over directions, not "
    "band-edge curvatures; labels above 100 m_e were clipped to that.",
    "Inputs are relaxed structures; a structure before relaxation is predicted as if its bonds were meant.",
)


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
OWN = (q.FORMATION_ENERGY, q.GAP_PBE, q.GAP_DIRECT_PBE)
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


def published(data: Path, max_atoms: int) -> list[Example]:
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


def own(folder: Path) -> list[Example]:
    """The relaxed structures of the project's dataset; its PBE gaps are labels of their own."""
    rows = []
    for entry in Dataset.load(folder).computed:
        known = {name: value for name, value in entry.values().items() if name in OWN}
        if known:
            rows.append(Example(entry.structure, known, entry.formula))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "data/weights/screener")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--max-atoms", type=int, default=24)
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--layers", type=int, default=2)
    args = parser.parse_args()

    examples = published(args.data, args.max_atoms) + own(resource("data/dataset"))
    settings = SurrogateSettings(
        channels=args.channels,
        layers=args.layers,
        members=args.members,
        folds=10,
        balance=0.5,
        epochs=args.epochs,
        batch_size=32,
        learning_rate=4e-3,
        ema=0.999,
        strain=0.005,
        rattle=0.01,
        replicas=2,
        pretrained=None,
        compile=True,
        checkpoint_every=1,
    )
    model = train(
        examples,
        targets=TARGETS,
        settings=settings,
        folder=args.out,
        seed=0,
        logger=lambda metrics, epoch: print(epoch, dict(metrics), flush=True),
        progress=False,
    )
    files = [args.data / source.file for source in SOURCES]
    card = {
        "name": "screener",
        "purpose": "predictions of relaxed inorganic crystals as they are",
        "licence": "CC BY 4.0",
        "credit": CREDIT,
        "notes": list(NOTES),
        "data": {str(f.relative_to(args.data)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
        "max_atoms": args.max_atoms,
        "validation_split": "tenths of the reduced formulas; member k was validated on tenth k",
        **{k: v for k, v in model.card.items() if k != "parity"},
    }
    replace(model, card=card).save(args.out)
    print(json.dumps(Surrogate.load(args.out).card["validation"]))


if __name__ == "__main__":
    main()
