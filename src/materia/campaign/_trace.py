"""From a candidate back to why it was picked and what came of it, from the record alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from materia.errors import CampaignError
from materia.record import CampaignRecord, Pick, load_campaign, to_json
from materia.space import Pool


def trace(folder: str | Path, candidate: str) -> dict[str, Any]:
    """What a campaign knows about one candidate; safe while a driver runs.

    Returns:
        ``candidate_id``; ``picked``; ``pick`` (round, slot, state, reason, predictions, score, labels) or None;
        ``dossier`` (why it was picked; None for picks of versions that kept none); ``found``: quantity -> computed
        ``value`` and ``error_in_std``, its distance from the prediction in predicted standard deviations;
        ``hit`` (None while it is not ranked); ``distortions``: from which prototype into which it fell, by how much,
        and whether what follows is the child's (``followed``; empty while it is not ranked); ``jobs``;
        ``overrides``: what people decided about it.

    Raises:
        SpaceError: the pool has no such candidate; the nearest ids are named.
        CampaignError: no campaign in the folder, or nothing has happened to the candidate.
    """
    folder = Path(folder)
    record = load_campaign(folder)
    pick = record.last_pick(candidate)
    overrides = [to_json(o) for o in record.overrides if o.candidate_id == candidate]
    if pick is None and not overrides:
        Pool.rows_in(folder / "pool", [candidate])
        raise CampaignError(
            f"{candidate} was not picked, and nobody decided about it",
            where=folder,
            remedy=f"picked so far: {_some(record)}; to have it computed: materia pin",
        )
    row = next((r for r in record.ranking if r["candidate_id"] == candidate), None)
    return {
        "candidate_id": candidate,
        "picked": pick is not None,
        "pick": None if pick is None else to_json(pick),
        "dossier": to_json(record.dossiers.get(candidate)),
        "found": {} if pick is None else _found(pick, row),
        "hit": None if row is None else bool(row["hit"]),
        "distortions": [] if row is None else row.get("distortions", []),
        "jobs": [
            {"name": j.name, "key": j.key, "state": j.state, "attempts": j.attempts}
            for j in record.jobs
            if j.name.rpartition("/")[0] == candidate
        ],
        "overrides": overrides,
    }


def _found(pick: Pick, row: dict[str, Any] | None) -> dict[str, dict[str, float | None]]:
    values = {label.quantity: label.value for label in pick.labels} | (row["values"] if row is not None else {})
    found: dict[str, dict[str, float | None]] = {}
    for name, value in values.items():
        belief = pick.predictions.get(name)
        known = belief is not None and belief["std"] > 0
        error = (value - belief["mean"]) / belief["std"] if belief is not None and known else None
        found[name] = {"value": value, "error_in_std": error}
    return found


def _some(record: CampaignRecord, most: int = 8) -> str:
    names = [p.candidate_id for r in record.rounds for p in r.picks]
    return ", ".join(names[-most:]) + (" (the last of them)" if len(names) > most else "") if names else "none"
