"""Train the round's surrogate on everything known, and predict the pool with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia import quantities as q
from materia.campaign._dear import DEAR
from materia.campaign._folder import Campaign
from materia.campaign._phases import competing_energies
from materia.crystal import structure_hash
from materia.search import Hurdle
from materia.simulation import level_hash

LEARNED = (q.FORMATION_ENERGY, q.GAP_PBE)  # whoever asks for one of these is helped by labels of the other
# learned where the conditions name them
ON_DEMAND = (
    q.GAP_DIRECT_PBE,
    q.VOLUME,
    q.GAP_SOC,
    q.GAP_GLLBSC_OWN,
    q.DIELECTRIC_ELECTRONIC_OWN,
    q.DIELECTRIC_STATIC_OWN,
)
MIN_EXAMPLES = 12
_HURDLE = "hurdle_"  # and the quantity, (3, n), in predictions.npz


@dataclass(frozen=True)
class Labelled:
    """m structures a surrogate was trained on.

    Attributes:
        ids: (m,) ``dataset/ID``, ``pick/ID``, or ``phase/JOB`` of a competing phase.
        formulas: (m,).
        values: (m,) quantity -> label.
        embedding: (m, d), in the space of the pool's.
    """

    ids: list[str]
    formulas: list[str]
    values: list[dict[str, float]]
    embedding: NDArray[np.float32]


@dataclass(frozen=True)
class PoolPredictions:
    """What the round's surrogate says about the n candidates of the pool.

    Attributes:
        columns: quantity -> (mean (n,), std (n,)); empty where the campaign has no surrogate.
        embedding: (n, d), or None.
        labelled: the structures it was trained on, for saying which of them are near a candidate; None for models
            of older versions.
        rivals: (m,) formation energies, eV/atom, of the campaign's rivals; None without any.
        metrics: out-of-fold figures of the model, flat (``gap_pbe_mae``), and ``pool_shift`` and ``pool_alarm``.
        n_labelled: structures it was trained on.
        hurdles: more about quantities that many labels have at their physical bound; empty for most models.
    """

    columns: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    embedding: NDArray[np.float32] | None
    metrics: dict[str, float]
    n_labelled: int
    labelled: Labelled | None = None
    rivals: NDArray[np.float64] | None = None
    hurdles: Mapping[str, Hurdle] = field(default_factory=dict)


def learned_quantities(campaign: Campaign) -> tuple[str, ...]:
    """What the surrogate has to predict for the campaign's conditions."""
    wanted = {o.quantity for o in campaign.settings.objectives} | {c.quantity for c in campaign.settings.constraints}
    if q.ENERGY_ABOVE_HULL in wanted:
        wanted.add(q.FORMATION_ENERGY)
    if wanted & set(DEAR):
        wanted.add(q.GAP_PBE)  # what is expected of them follows from it
    return tuple(name for name in (*LEARNED, *ON_DEMAND) if name in wanted)


def predict_pool(campaign: Campaign, round_number: int, *, progress: bool = False) -> PoolPredictions:
    """The predictions of a round, from disk if they are there: a model is trained once.

    Raises:
        DatasetError: too few labels to train on.
    """
    settings = campaign.settings.surrogate
    if settings is None:
        return PoolPredictions({}, None, {}, len(_examples(campaign)))
    folder = campaign.folder / "models" / str(round_number)
    if not (folder / "predictions.npz").is_file():
        _train(campaign, round_number, folder, progress=progress)
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    metrics = {f"{name}_{key}": v for name, found in card["validation"].items() for key, v in found.items()}
    metrics |= _drift(folder)
    with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
        columns = {name: (arrays["mean"][:, j], arrays["std"][:, j]) for j, name in enumerate(card["targets"])}
        labelled = _labelled(folder, arrays["labelled"]) if "labelled" in arrays else None
        hurdles = {name: Hurdle(*arrays[key]) for name in card["targets"] if (key := f"{_HURDLE}{name}") in arrays}
        return PoolPredictions(
            columns, arrays["embedding"], metrics, int(card["n_train"]), labelled, arrays.get("rivals"), hurdles
        )


def _drift(folder: Path) -> dict[str, float]:
    """What the model says of the pool as a whole; nothing where it cannot tell or is of an older version."""
    path = folder / "drift.json"
    moved = json.loads(path.read_text()) if path.is_file() else {}
    if moved.get("shift") is None:
        return {}
    return {"pool_shift": moved["shift"], "pool_alarm": float(moved["alarm"])}


def _labelled(folder: Path, embedding: NDArray[np.float32]) -> Labelled:
    rows = json.loads((folder / "labelled.json").read_text())
    return Labelled(
        [row["id"] for row in rows], [row["formula"] for row in rows], [row["values"] for row in rows], embedding
    )


def _train(campaign: Campaign, round_number: int, folder: Path, *, progress: bool) -> None:
    """Train in a folder aside and rename: a model folder is either whole or absent."""
    from materia.errors import DatasetError
    from materia.surrogate import train

    assert campaign.settings.surrogate is not None
    named = _examples(campaign)
    examples = list(named.values())
    if len(examples) < MIN_EXAMPLES:
        raise DatasetError(
            f"{len(examples)} labelled structures are too few to train a surrogate on (at least {MIN_EXAMPLES})",
            where=str(campaign.settings.data),
            remedy="start from a dataset (data: shipped), or set surrogate: null with search.acquisition: random",
        )
    for name in learned_quantities(campaign):
        if (n := sum(name in example.targets for example in examples)) < MIN_EXAMPLES:
            raise DatasetError(
                f"{n} labels of {name} are too few to train a surrogate on (at least {MIN_EXAMPLES})",
                where=str(campaign.settings.data),
                remedy="begin with a campaign that picks at random (surrogate: null, search.acquisition: random) and "
                "make a dataset of it",
            )
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    crystals = [campaign.pool.crystal(i) for i in range(len(campaign.pool))]
    model = train(
        examples,
        targets=learned_quantities(campaign),
        settings=campaign.settings.surrogate,
        folder=aside,
        seed=campaign.settings.seed * 1000 + round_number,
        previous=folder.with_name(str(round_number - 1)),
        progress=progress,
        population=crystals,
    )
    found = model.predict(crystals, progress=progress)
    moved = model.drift(model.remoteness(found), [crystal.formula for crystal in crystals])
    (aside / "drift.json").write_text(json.dumps(moved.to_json()))
    known = model.predict([example.crystal for example in examples], progress=progress)
    beside: dict[str, Any] = {}
    if campaign.rivals is not None:
        others = model.predict([candidate.crystal for candidate in campaign.rivals.candidates], progress=progress)
        beside["rivals"] = others.column(q.FORMATION_ENERGY)[0]
    beside |= {f"{_HURDLE}{name}": np.stack(parts) for name, parts in found.hurdles.items()}
    np.savez(
        aside / "predictions.npz",
        mean=found.mean,
        std=found.std,
        embedding=found.embedding,
        labelled=known.embedding,
        **beside,
    )
    rows = [{"id": k, "formula": e.crystal.formula, "values": dict(e.targets)} for k, e in named.items()]
    (aside / "labelled.json").write_text(json.dumps(rows))
    folder.parent.mkdir(exist_ok=True)
    aside.rename(folder)


def _examples(campaign: Campaign) -> dict[str, Any]:
    """Labelled structures, before relaxation as the pool holds them, by id and ordered by it."""
    from materia.surrogate import Example

    known: dict[str, Any] = {}
    names = dict.fromkeys((*LEARNED, *learned_quantities(campaign)))

    def learnable(values: dict[str, float]) -> dict[str, float]:
        return {name: values[name] for name in names if name in values}

    # Labels that were imported are of many levels, which are not pooled: those of the campaign's own are used.
    imported, own = "levels" in campaign.dataset.card, level_hash(campaign.settings.ladder.own)
    for entry in campaign.dataset.computed:
        values = {x.quantity: x.value for x in entry.labels if not imported or x.level_hash == own}
        known[f"dataset/{entry.id}"] = Example(entry.initial, learnable(values), entry.formula)
    for row in campaign.database.picks():
        if row.pick.labelled:
            crystal = campaign.pool.crystal(row.pick.candidate_index)
            values = {label.quantity: label.value for label in row.pick.labels}
            known[f"pick/{row.pick.candidate_id}"] = Example(crystal, learnable(values), crystal.formula)
    alike = {structure_hash(example.crystal) for example in known.values()}
    for phase, _, energy in competing_energies(campaign.database, campaign.references):
        if structure_hash(phase.crystal) not in alike:
            values = learnable({q.FORMATION_ENERGY: energy})
            known[f"phase/{phase.key}"] = Example(phase.crystal, values, phase.crystal.formula)
    return {key: known[key] for key in sorted(known) if known[key].targets}
