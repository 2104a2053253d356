"""Projections of a campaign, all rebuilt from its record: ranking, ASE database, report, MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from materia import files
from materia.campaign._folder import Campaign
from materia.campaign._knowledge import Knowledge
from materia.campaign._ladder import walk
from materia.campaign._validate import validations
from materia.campaign._values import values_of
from materia.compute import Ledger
from materia.crystal import Crystal
from materia.data import Entry, export
from materia.record import Label, PickState, load_campaign
from materia.report import write_report
from materia.search import Conditions, rank
from materia.search import Entry as Contender
from materia.tracking import TrackingError, track


def write_outputs(campaign: Campaign, knowledge: Knowledge, conditions: Conditions) -> str:
    """Write ``ranking.json``, ``results.db``, ``distorted/``, ``report/index.html`` and the MLflow record anew.

    Returns:
        why the MLflow record could not be written, or "". A tracking server that is away must not stop a campaign:
        the record is a projection, and the next round writes all of it.
    """
    _write_ranking(campaign, knowledge, conditions)
    _write_database(campaign)
    _write_distorted(campaign)
    record = load_campaign(campaign.folder)
    page = campaign.folder / "report" / "index.html"
    page.parent.mkdir(exist_ok=True)
    write_report(record, page)
    if campaign.settings.tracking.enabled:
        try:
            track(record, campaign.settings.tracking)
        except TrackingError as error:
            return f"not tracked: {error.what}"
    return ""


def _write_ranking(campaign: Campaign, knowledge: Knowledge, conditions: Conditions) -> None:
    """The campaign's picks, and the candidates that the starting dataset had already."""
    hull = knowledge.hull()
    details: dict[str, dict[str, Any]] = {}
    contenders = []

    def add(name: str, status: str, crystal: Crystal, labels: tuple[Label, ...], own_entry: str, **more: Any) -> None:
        values = values_of(crystal, labels, hull, name=own_entry) if labels else {}
        complete = all(wanted in values for wanted in conditions.quantities)
        details[name] = {
            "candidate_id": name,
            "formula": crystal.formula,
            "status": status,
            "values": values,
            "structure": crystal.to_record(),
            "distortions": [],
            "validation": None,
            "predictions": {},
            "round": None,
            "reason": "",
            **more,
        }
        predictions = details[name]["predictions"]
        contenders.append(Contender(name, values if complete else {}, predictions, failed=status == "failed"))

    ladder, ledger = campaign.settings.ladder, Ledger(campaign.database.connection)
    validated = validations(campaign, knowledge, ledger)
    may_distort = any(recipe == "distorts" for recipe, _ in campaign.rungs)
    for row in campaign.database.picks():
        pick = row.pick
        if pick.state.open or pick.state is PickState.VETOED:
            continue
        start = campaign.pool.crystal(pick.candidate_index)
        way = walk(ladder, campaign.rungs, ledger, start) if may_distort else None
        add(
            pick.candidate_id,
            pick.state.value,
            row.structure,
            pick.labels,
            pick.candidate_id,
            prototype=campaign.pool.prototypes[pick.candidate_index],
            predictions={} if pick.state is PickState.STOPPED else dict(pick.predictions),  # known better by now
            round=pick.round,
            reason=pick.reason,
            distortions=[] if way is None else list(way.distortions),
            validation=validated.get(pick.candidate_id),
        )
    entries = {entry.id: entry for entry in campaign.dataset}
    for index, entry_id in knowledge.labelled.items():
        entry = entries[entry_id]
        if campaign.pool.ids[index] not in details and entry.status == "computed":
            prototype = campaign.pool.prototypes[index]
            add(campaign.pool.ids[index], "labelled", entry.structure, entry.labels, entry.id, prototype=prototype)
    rows = [
        {
            **details[r.entry.id],
            "rank": r.rank,
            "hit": r.hit and bool(conditions.intervals),
            "probability": r.probability,
        }
        for r in rank(contenders, conditions)
    ]
    write_json(campaign.folder / "ranking.json", rows)


def _write_database(campaign: Campaign) -> None:
    """``results.db``: what the campaign computed, as an ASE database."""
    entries = [
        Entry(
            id=row.pick.candidate_id,
            prototype=campaign.pool.prototypes[row.pick.candidate_index],
            status="computed",
            reason="",
            initial=campaign.pool.crystal(row.pick.candidate_index),
            structure=row.structure,
            labels=row.pick.labels,
            jobs=(),
        )
        for row in campaign.database.picks()
        if row.pick.labelled
    ]
    if entries:
        export(entries, campaign.folder / "results.db")


def _write_distorted(campaign: Campaign) -> None:
    """``distorted/ID.json``: what candidates fell into that an interatomic potential found to distort, as it left them.
    The pool of a campaign is frozen, so they are none of its candidates: picks go on with them (``child: follows``), or
    another campaign takes the folder under ``space.files``."""
    folder = campaign.folder / "distorted"
    for job in Ledger(campaign.database.connection).jobs():
        child = None if job.outcome is None else job.outcome.values.get("child")
        if child is not None:
            folder.mkdir(exist_ok=True)
            write_json(folder / f"{job.spec.name.rsplit('/', 1)[0]}.json", child)


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    files.write_whole(path, json.dumps(content, indent=1) + "\n")
