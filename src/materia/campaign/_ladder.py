"""A pick's way up the ladder: which job comes next, and what its outcomes amount to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from materia.campaign._folder import Campaign
from materia.campaign._labels import labels_from
from materia.campaign._rungs import LadderSettings, Rung
from materia.compute import Ledger, Store
from materia.crystal import Crystal
from materia.data import Dataset
from materia.record import JobSpec, Label, Outcome, OutcomeKind
from materia.simulation import Level, cost_features, engine, estimate_seconds, make_job
from materia.stability import References


def rung_job(campaign: Campaign, candidate_id: str, rung: int, structure: Crystal) -> JobSpec:
    """The job of one rung, at the rung's level."""
    recipe, level = campaign.rungs[rung]
    named = recipe if level.name == campaign.settings.ladder.level else f"{recipe}@{level.name}"
    job = make_job(recipe, structure, level, name=f"{candidate_id}/{named}", ranks=campaign.settings.compute.ranks)
    return replace(job, stage=rung)


def seconds_of(rungs: Sequence[tuple[str, Level]]) -> Callable[[Crystal], list[float]]:
    """What tells of a crystal how many CPU seconds each rung is expected to take; raises EngineError where an element
    has no pseudopotential."""
    levels = {level.name: level for _, level in rungs}
    programs = {name: engine(level.engine) for name, level in levels.items()}

    def seconds(crystal: Crystal) -> list[float]:
        features = {
            name: cost_features(crystal, level, programs[name].n_electrons(crystal, level))
            for name, level in levels.items()
        }
        return [estimate_seconds(recipe, features[level.name]) for recipe, level in rungs]

    return seconds


@dataclass(frozen=True)
class Way:
    """A candidate's way up the ladder, as far as its jobs have ended.

    Attributes:
        structure: what the next rung is computed on, and what the labels are of.
        jobs: (recipe, outcome) of every job that ended, from the first rung on; none but the last has failed.
        results: (level, job key, values) that say something about ``structure``, see :func:`labels_from`.
        distortions: for every rung that found it to distort, ``parent_prototype``, ``child_prototype``, ``energy``
            (eV/atom, positive: the child lies lower; both by the potential), ``child_relaxed`` and ``followed``:
            whether the rungs above were computed on the child.
    """

    structure: Crystal
    jobs: tuple[tuple[str, Outcome], ...]
    results: tuple[tuple[Level, str, Mapping[str, Any]], ...]
    distortions: tuple[dict[str, Any], ...]


def walk(ladder: LadderSettings, rungs: Sequence[tuple[str, Level]], ledger: Ledger, start: Crystal) -> Way:
    """Go up the ladder from job key to job key: each hangs on the structure that the rung before left.

    Where a pick goes on with its distorted child, what DFT said of the parent is no label of the child and is left out
    of the results; what a potential said stays, until a rung above says it of the child.

    Args:
        rungs: (recipe, level) of the ladder.
        start: as the pool holds it.
    """
    structure = start
    jobs: list[tuple[str, Outcome]] = []
    results: list[tuple[Level, str, Mapping[str, Any]]] = []
    distortions: list[dict[str, Any]] = []
    for rung, (recipe, level) in zip(ladder.recipes, rungs, strict=True):
        outcome = ledger.outcome(make_job(recipe, structure, level).key)
        if outcome is None:
            break
        jobs.append((recipe, outcome))
        if not outcome.ok:
            break
        results.append((level, outcome.key, outcome.values))
        if "child" in outcome.values:
            distortions.append(_distortion(rung, outcome.values))
        if follows(rung, outcome):
            results = [result for result in results if result[0].potential is not None]
        structure = structure_after(rung, structure, outcome)
    return Way(structure, tuple(jobs), tuple(results), tuple(distortions))


def _distortion(rung: Rung, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parent_prototype": values["parent_prototype"],
        "child_prototype": values["child_prototype"],
        "energy": values["distortion_energy"],
        "child_relaxed": values.get("child_relaxed", True),  # older jobs do not say it
        "followed": rung.child == "follows",
    }


def follows(rung: Rung, outcome: Outcome) -> bool:
    """Whether the pick goes on with the child that this rung found."""
    return rung.child == "follows" and "child" in outcome.values


def structure_after(rung: Rung, structure: Crystal, outcome: Outcome) -> Crystal:
    """The structure the next rung starts from: the distorted child where it is followed, the relaxed one where the
    recipe returned one, else that of the rung itself."""
    record = outcome.values.get("child" if follows(rung, outcome) else "structure")
    return structure if record is None else Crystal.from_record(dict(record))


def climbed_labels(
    campaign: Campaign, ledger: Ledger, start: Crystal, references: References | None
) -> tuple[Label, ...]:
    """Labels of the rungs that a candidate has completed, gathered from the ledger by job key."""
    way = walk(campaign.settings.ladder, campaign.rungs, ledger, start)
    return labels_from(way.structure, way.results, references)


def stores_named(folders: Iterable[str]) -> list[Store]:
    """What is asked for a key before a job runs: the campaigns and datasets in these folders (``compute.stores``)."""
    return [dataset_store(Dataset.load(p)) if Dataset.lies_in(p) else p for p in map(Path, folders)]


def dataset_store(dataset: Dataset) -> Callable[[str], Outcome | None]:
    """A store of finished jobs: what the dataset holds is never computed again."""

    def look_up(key: str) -> Outcome | None:
        job = dataset.jobs.get(key)
        if job is None:
            return None
        kind = OutcomeKind.COMPLETED if job.status == "completed" else OutcomeKind.FAILED
        provenance = {**job.provenance, "adopted_from": f"dataset {dataset.card.get('name', '')}"}
        return Outcome(key, kind, False, job.reason, job.message, job.values, provenance)

    return look_up
