"""A pick's way up the ladder: which job comes next, and what its outcomes amount to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from materia.campaign._folder import Campaign
from materia.campaign._labels import labels_from
from materia.compute import Ledger
from materia.crystal import Crystal
from materia.data import Dataset
from materia.record import JobSpec, Label, Outcome, OutcomeKind
from materia.simulation import Level, cost_features, engine, estimate_seconds, make_job
from materia.stability import References


def rung_job(campaign: Campaign, candidate_id: str, rung: int, structure: Crystal) -> JobSpec:
    """The job of one rung, at the rung's level."""
    recipe, level = campaign.rungs[rung]
    named = recipe if level.name == campaign.settings.ladder.level else f"{recipe}@{level.name}"
    return make_job(recipe, structure, level, name=f"{candidate_id}/{named}", ranks=campaign.settings.compute.ranks)


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


def structure_after(structure: Crystal, outcome: Outcome) -> Crystal:
    """The structure the next rung starts from: the relaxed one where the recipe returned one."""
    record = outcome.values.get("structure")
    return structure if record is None else Crystal.from_record(dict(record))


def climbed_labels(
    campaign: Campaign,
    ledger: Ledger,
    start: Crystal,
    candidate_id: str,
    references: References | None,
) -> tuple[Label, ...]:
    """Labels of the rungs that a candidate has completed, gathered from the ledger by job key."""
    results, structure = [], start
    for rung, (_, level) in enumerate(campaign.rungs):
        spec = rung_job(campaign, candidate_id, rung, structure)
        outcome = ledger.outcome(spec.key)
        if outcome is None or not outcome.ok:
            break
        results.append((level, spec.key, outcome.values))
        structure = structure_after(structure, outcome)
    return labels_from(structure, results, references)


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
