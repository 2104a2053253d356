"""From finished campaigns, and from datasets that grow, to a dataset: every structure computed, failures included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from materia.campaign._database import CampaignDatabase, PickRow
from materia.campaign._folder import versions
from materia.campaign._labels import formation_energy, labels_from
from materia.campaign._ladder import walk
from materia.campaign._phases import RECIPE, compared, relaxed
from materia.campaign._pseudopotentials import of_entries
from materia.campaign._references import references_for, references_in
from materia.campaign._rungs import LadderSettings
from materia.compute import Ledger
from materia.crystal import Crystal, structure_hash
from materia.data import Dataset, Entry, JobResult
from materia.errors import CampaignError
from materia.quantities import ENERGY, FORMATION_ENERGY
from materia.record import CampaignRecord, Label, Outcome, OutcomeKind, PickState, load_campaign
from materia.simulation import Level, level_hash
from materia.space import Pool
from materia.stability import References

KEPT_PROVENANCE = ("engine", "versions", "pseudopotentials", "choices", "remedies", "wall_s", "cpu_s")


def build_dataset(folders: Sequence[str | Path], *, name: str, card: Mapping[str, Any]) -> Dataset:
    """All picks of the given campaigns, and all entries of the given datasets, as entries of one dataset.

    A campaign's labels are formed anew from the job results, with the elemental references that it was started with, or
    that ship with this version; of a dataset's the formation energies are, where references ship for its level. What
    several folders say of one structure is put together; of two structures with one id, and of two calculations of one
    quantity, the last one counts.

    Args:
        folders: of campaigns, and of datasets that this function made; all at one level.
        name: of the dataset.
        card: further fields of its card (title, licence, ...).

    Raises:
        CampaignError: no campaign in a folder, folders at different levels, or one with a potential that is not the one
            that is installed.
        EngineError: calculations with two pseudopotentials of one element.
        DatasetError: a dataset is damaged.
    """
    entries: dict[str, Entry] = {}
    levels: dict[str, Level] = {}
    for folder in map(Path, folders):
        level, found = (_of_dataset if (folder / "card.json").is_file() else _of_campaign)(folder)
        levels[level_hash(level)] = level
        for entry in found:
            before = entries.get(entry.id)
            entries[entry.id] = entry if before is None else _together(before, entry)
    if len(levels) != 1:
        names = ", ".join(f"{level.name} ({digest})" for digest, level in sorted(levels.items()))
        raise CampaignError(f"the folders are at different levels: {names}", where=", ".join(map(str, folders)))
    chosen = next(iter(levels.values()))
    full = {
        "name": name,
        "level": chosen.model_dump(mode="json"),
        "level_hash": level_hash(chosen),
        "paw_datasets": of_entries(entries.values(), chosen),
        "versions": versions(),
        "units": {"energies": "eV", "lengths": "Å", "volumes": "Å³", "stress": "GPa", "forces": "eV/Å"},
        **card,
    }
    return Dataset(tuple(entries[key] for key in sorted(entries)), full)


def _of_campaign(folder: Path) -> tuple[Level, list[Entry]]:
    record = load_campaign(folder)
    ladder = LadderSettings.model_validate(record.settings["ladder"])
    _require_same(ladder, record)
    database = CampaignDatabase(folder / "campaign.sqlite")
    try:
        pool, ledger = Pool.load(folder / "pool"), Ledger(database.connection)
        ended = [row for row in database.picks() if row.pick.labelled or row.pick.state is PickState.FAILED]
        references = references_in(folder, ladder.own)
        picked = [_entry(row, pool, ledger, ladder, references) for row in ended]
        return ladder.own, [*_competing(database, ledger, ladder.own, picked, references), *picked]
    finally:
        database.close()


def _of_dataset(folder: Path) -> tuple[Level, list[Entry]]:
    dataset = Dataset.load(folder)
    try:
        level = Level.model_validate(dataset.card["level"])
    except (KeyError, ValidationError) as error:
        raise CampaignError(
            f"the dataset {dataset.card.get('name')!r} was not built of campaigns: its card names no level of theory",
            where=folder,
            remedy="imported calculations stay a dataset of their own",
        ) from error
    references = references_for(level)

    def renewed(label: Label, labels: Mapping[str, Label], crystal: Crystal) -> Label:
        energy = labels.get(ENERGY)
        if label.quantity != FORMATION_ENERGY or energy is None:
            return label
        value = formation_energy(crystal, energy.value, references)
        return label if value is None else replace(label, value=value)

    entries = []
    for entry in dataset:
        labels = {label.quantity: label for label in entry.labels}
        entries.append(replace(entry, labels=tuple(renewed(x, labels, entry.structure) for x in entry.labels)))
    return level, entries


def _together(before: Entry, after: Entry) -> Entry:
    """What two folders say of one id; the second has the last word."""
    if before.status != after.status or structure_hash(before.initial) != structure_hash(after.initial):
        return after
    keys, quantities = {job.key for job in after.jobs}, {label.quantity for label in after.labels}
    return replace(
        after,
        jobs=(*after.jobs, *(job for job in before.jobs if job.key not in keys)),
        labels=(*after.labels, *(label for label in before.labels if label.quantity not in quantities)),
    )


def _require_same(ladder: LadderSettings, record: CampaignRecord) -> None:
    """Jobs are found by their keys, and the key of a potential's job hangs on its version and weights."""
    held = [record.meta["level"], *record.meta.get("potentials", {}).values()]
    then = {str(level["name"]): str(level["hash"]) for level in held}
    for name, level in ladder.levels.items():
        if level.potential is not None and then.get(name) != level_hash(level):
            raise CampaignError(
                f"the potential {name!r} here has another version, or other weights, than in the campaign",
                where=record.folder,
                remedy="build the dataset in the environment that the campaign ran in",
            )


def _competing(
    database: CampaignDatabase, ledger: Ledger, level: Level, picked: list[Entry], references: References | None
) -> list[Entry]:
    """Competing phases whose jobs have ended, but those that were picked as well."""
    alike = {structure_hash(entry.initial) for entry in picked}
    entries: dict[str, Entry] = {}
    for _, phases in compared(database).values():
        for phase in phases:
            outcome = ledger.outcome(phase.key)
            if outcome is None or outcome.kind is OutcomeKind.CANCELLED or structure_hash(phase.crystal) in alike:
                continue
            ended = relaxed(phase, outcome)
            structure = phase.crystal if ended is None else ended[0]
            results = [] if ended is None else [(level, phase.key, outcome.values)]
            entries[phase.key] = Entry(
                id=phase.name,
                prototype=phase.prototype,
                status="failed" if ended is None else "computed",
                reason="" if ended is not None else outcome.reason,
                initial=phase.crystal,
                structure=structure,
                labels=labels_from(structure, results, references),
                jobs=(_job_result(RECIPE, outcome),),
            )
    return list(entries.values())


def _job_result(recipe: str, outcome: Outcome) -> JobResult:
    provenance = {k: outcome.provenance[k] for k in KEPT_PROVENANCE if k in outcome.provenance}
    status = "completed" if outcome.ok else "failed"
    return JobResult(outcome.key, recipe, status, outcome.reason, outcome.message, outcome.values, provenance)


def _entry(row: PickRow, pool: Pool, ledger: Ledger, ladder: LadderSettings, references: References | None) -> Entry:
    pick = row.pick
    initial = pool.crystal(pick.candidate_index)
    way = walk(ladder, ladder.rungs, ledger, initial)
    computed = pick.state is not PickState.FAILED
    return Entry(
        id=pick.candidate_id,
        prototype=pool.prototypes[pick.candidate_index],
        status="computed" if computed else "failed",
        reason="" if computed else pick.reason,
        initial=initial,
        structure=way.structure,
        labels=labels_from(way.structure, way.results, references) if computed else (),
        jobs=tuple(_job_result(recipe, outcome) for recipe, outcome in way.jobs),
    )
