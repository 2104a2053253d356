"""Train the weights that `materia predict` uses by itself, on published data and the project's own dataset.

    python experiments/screener/run.py --data FOLDER [--out data/weights/screener] [--members 2] [--epochs 25]

FOLDER holds the published sets of SOURCES (gzip JSON lines, one record a line: id, structure, targets). A run that was
cut off goes on from its checkpoints.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

from published import SOURCES, TARGETS, read

from materia import quantities as q
from materia.data import Dataset
from materia.resources import resource
from materia.surrogate import Example, Surrogate, SurrogateSettings, train

HERE = Path(__file__).parent
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


ENERGIES = (q.FORMATION_ENERGY_MP, q.FORMATION_ENERGY)  # learned worse in company (docs/surrogate.md)
OWN = (q.FORMATION_ENERGY, q.GAP_PBE, q.GAP_DIRECT_PBE)


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
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--max-atoms", type=int, default=24)
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--layers", type=int, default=2)
    args = parser.parse_args()

    examples = read(args.data, args.max_atoms) + own(resource("data/dataset"))
    settings = SurrogateSettings(
        channels=args.channels,
        layers=args.layers,
        members=args.members,
        folds=20,
        left_out_by=2,
        towers=(ENERGIES, tuple(TARGETS)),
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
        "validation_split": "a tenth of the reduced formulas, left out by both members; figures are of their mean",
        **{k: v for k, v in model.card.items() if k != "parity"},
    }
    replace(model, card=card).save(args.out)
    print(json.dumps(Surrogate.load(args.out).card["validation"]))


if __name__ == "__main__":
    main()
