"""From finished campaigns to a dataset: every structure that was computed, failures included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materia.campaign._database import CampaignDatabase, PickRow
from materia.campaign._folder import versions
from materia.campaign._labels import labels_from, references_for
from materia.campaign._ladder import walk
from materia.campaign._rungs import LadderSettings
from materia.compute import Ledger
from materia.data import Dataset, Entry, JobResult
from materia.errors import CampaignError
from materia.record import CampaignRecord, PickState, load_campaign
from materia.simulation import Level, level_hash
from materia.space import Pool

KEPT_PROVENANCE = ("engine", "versions", "pseudopotentials", "choices", "remedies", "wall_s", "cpu_s")


def build_dataset(folders: Sequence[str | Path], *, name: str, card: Mapping[str, Any]) -> Dataset:
    """All picks of the given campaigns as dataset entries.

    Labels are formed anew from the job results, with the elemental references that ship with this version.

    Args:
        folders: campaign folders; all at one level.
        name: of the dataset.
        card: further fields of its card (title, licence, ...).

    Raises:
        CampaignError: no campaign in a folder, campaigns at different levels, or one with a potential that is not the
            one that is installed.
    """
    entries: dict[str, Entry] = {}
    levels: dict[str, Level] = {}
    for folder in map(Path, folders):
        record = load_campaign(folder)
        ladder = LadderSettings.model_validate(record.settings["ladder"])
        _require_same(ladder, record)
        levels[ladder.level] = ladder.own
        database = CampaignDatabase(folder / "campaign.sqlite")
        try:
            pool, ledger = Pool.load(folder / "pool"), Ledger(database.connection)
            for row in database.picks():
                if row.pick.labelled or row.pick.state is PickState.FAILED:
                    entry = _entry(row, pool, ledger, ladder)
                    entries[entry.id] = entry
        finally:
            database.close()
    if len(levels) != 1:
        raise CampaignError(f"the campaigns are at different levels: {', '.join(sorted(levels))}", where=str(folders))
    chosen = next(iter(levels.values()))
    digests = {
        e: d
        for entry in entries.values()
        for job in entry.jobs
        for e, d in job.provenance.get("pseudopotentials", {}).items()
    }
    full = {
        "name": name,
        "level": chosen.model_dump(mode="json"),
        "level_hash": level_hash(chosen),
        "paw_datasets": dict(sorted(digests.items())),
        "versions": versions(),
        "units": {"energies": "eV", "lengths": "Å", "volumes": "Å³", "stress": "GPa", "forces": "eV/Å"},
        **card,
    }
    return Dataset(tuple(entries[key] for key in sorted(entries)), full)


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


def _entry(row: PickRow, pool: Pool, ledger: Ledger, ladder: LadderSettings) -> Entry:
    pick = row.pick
    initial = pool.crystal(pick.candidate_index)
    way = walk(ladder, ladder.rungs, ledger, initial)
    jobs = []
    for recipe, outcome in way.jobs:
        provenance = {k: outcome.provenance[k] for k in KEPT_PROVENANCE if k in outcome.provenance}
        status = "completed" if outcome.ok else "failed"
        jobs.append(JobResult(outcome.key, recipe, status, outcome.reason, outcome.message, outcome.values, provenance))
    computed = pick.state is not PickState.FAILED
    return Entry(
        id=pick.candidate_id,
        prototype=pool.prototypes[pick.candidate_index],
        status="computed" if computed else "failed",
        reason="" if computed else pick.reason,
        initial=initial,
        structure=way.structure,
        labels=labels_from(way.structure, way.results, references_for(ladder.own)) if computed else (),
        jobs=tuple(jobs),
    )
