"""Train the shipped weights on published Materials Project data, or weights that know nothing of a replay's pool.

    python experiments/pretrain/run.py --data FOLDER [--out data/weights/base] [--members 2] [--epochs 20]
    python experiments/pretrain/run.py --data FOLDER --out OUT --leave-out REPLAY.yaml --max-atoms 20

FOLDER holds ``mp_20_biternary/mp_20_biternary.jsonl.gz`` and ``multifidelity_gaps/multifidelity_gaps.jsonl.gz``
(one record a line: id, structure, targets). Rows are joined by Materials Project id. Every reduced formula
of the project's own dataset is left out, so that its held-out formulas are unseen however it is split; with
``--leave-out`` every formula of that pool instead, and cells are rescaled as that replay rescales them.
A run that was cut off goes on from its checkpoints.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

from pymatgen.core import Composition

from materia import quantities as q
from materia.crystal import Crystal, touching_volume
from materia.search import Conditions
from materia.search.replay import DataSettings, KnownPool, load_replay
from materia.surrogate import Example, Surrogate, SurrogateSettings, train

HERE = Path(__file__).parent
SOURCES = {
    "mp_20_biternary/mp_20_biternary.jsonl.gz": {
        "formation_energy_per_atom_eV": q.FORMATION_ENERGY_MP,
        "band_gap_pbe_eV": q.GAP_MP,
    },
    "multifidelity_gaps/multifidelity_gaps.jsonl.gz": {"gap_pbe_eV": q.GAP_MP, "gap_hse_eV": q.GAP_HSE06},
}
CREDIT = (
    "Trained on data of the Materials Project (CC BY 4.0): A. Jain et al., APL Materials 1, 011002 (2013). "
    "Structures, formation energies and gaps via the MP-20 selection (T. Xie et al., ICLR 2022; "
    "R. Zhu et al., Matter 2024); PBE and HSE06 gaps via C. Chen et al., Nature Computational Science 1, 46 (2021)."
)


def normal(formula: str) -> str:
    """A reduced formula in one spelling, whatever the order of elements."""
    return Composition(formula).reduced_formula


def located(data: Path, name: str) -> Path:
    """A file of the folder, in whatever subfolder it lies."""
    found = sorted(data.rglob(Path(name).name))
    if not found:
        raise SystemExit(f"{Path(name).name} is not below {data}: name the folder of published data with --data")
    return found[0]


def pool_of(replay: Path, data: Path) -> tuple[set[str], DataSettings]:
    """Formulas of a replay's pool, and how it treats its structures."""
    settings = load_replay(replay)
    if settings.data.records is None:
        raise SystemExit(f"{replay}: its pool is a dataset of the project; those formulas are left out anyway")
    records = located(data, settings.data.records)
    about = settings.data.model_copy(update={"records": str(records)})
    pool = KnownPool.load(about, Conditions(settings.objectives, settings.constraints))
    return {normal(formula) for formula in pool.formulas}, about


def read_examples(data: Path, exclude: set[str], max_atoms: int, touching: bool = False) -> list[Example]:
    """One example per Materials Project id, with every target known for it.

    Args:
        touching: rescale every cell to the volume at which its closest atoms touch.
    """
    crystals: dict[str, Crystal] = {}
    targets: dict[str, dict[str, float]] = {}
    for name, columns in SOURCES.items():
        with gzip.open(located(data, name), "rt") as lines:
            for row in map(json.loads, lines):
                if len(row["structure"]["species"]) > max_atoms:
                    continue
                known = {columns[k]: float(v) for k, v in row["targets"].items() if k in columns and v is not None}
                crystals.setdefault(row["id"], Crystal.from_record(row["structure"]))
                targets[row["id"]] = known | targets.get(row["id"], {})
    examples = []
    for key in sorted(crystals):
        group = normal(crystals[key].formula)
        if group not in exclude and targets[key]:
            crystal = crystals[key]
            if touching:
                crystal = crystal.scaled_to_volume(touching_volume(crystal))
            examples.append(Example(crystal, targets[key], group))
    return examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "data/weights/base")
    parser.add_argument("--exclude", type=Path, default=HERE.parent / "dataset_formulas.txt")
    parser.add_argument("--leave-out", type=Path, help="replay file: no formula of its pool is learned from")
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-atoms", type=int, default=10)
    args = parser.parse_args()

    if args.leave_out is not None:
        exclude, about = pool_of(args.leave_out, args.data)
        examples = read_examples(args.data, exclude, args.max_atoms, about.volume == "touching")
    else:
        exclude = {normal(line.strip()) for line in args.exclude.read_text().splitlines() if line.strip()}
        examples = read_examples(args.data, exclude, args.max_atoms)
    known = {name for example in examples for name in example.targets}
    settings = SurrogateSettings(
        channels=48,
        layers=3,
        members=args.members,
        folds=10,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=4e-3,
        ema=0.995,
        strain=0.02,
        rattle=0.02,
        pretrained=None,
        checkpoint_every=1,
    )
    model = train(
        examples,
        targets=[name for name in (q.FORMATION_ENERGY_MP, q.GAP_MP, q.GAP_HSE06) if name in known],
        settings=settings,
        folder=args.out,
        seed=0,
        logger=lambda metrics, epoch: print(epoch, dict(metrics), flush=True),
        progress=False,
    )
    card = {
        "name": "base" if args.leave_out is None else args.out.name,
        "purpose": "starting point for fine-tuning on labels of one's own; not for use as it is",
        "licence": "CC BY 4.0",
        "credit": CREDIT,
        "data": {name: hashlib.sha256(located(args.data, name).read_bytes()).hexdigest() for name in SOURCES},
        "max_atoms": args.max_atoms,
        "excluded_formulas": sorted(exclude),
        "validation_split": "tenths of the reduced formulas; member k was validated on tenth k",
        **{k: v for k, v in model.card.items() if k != "parity"},
    }
    replace(model, card=card).save(args.out)
    print(json.dumps(Surrogate.load(args.out).card["validation"]))


if __name__ == "__main__":
    main()
