"""Reading a campaign folder without touching it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from materia.errors import CampaignError
from materia.record._campaign_record import AttemptRecord, CampaignRecord, JobRecord
from materia.record._overrides import load_overrides
from materia.record._values import Climb, Label, Outcome, OutcomeKind, Pick, PickState, Resources, Round


def load_campaign(folder: str | Path) -> CampaignRecord:
    """The campaign in a folder, as it stands on disk; safe while a driver runs.

    Raises:
        CampaignError: there is no campaign in it.
    """
    folder = Path(folder)
    database = folder / "campaign.sqlite"
    if not database.is_file():
        raise CampaignError("no campaign in this folder", where=folder, remedy="start one with `materia run FILE`")
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30.0)
    try:
        meta = {key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM meta")}
        return CampaignRecord(
            folder=folder,
            name=meta.get("name", folder.name),
            state=meta.get("state", "running"),
            settings=yaml.safe_load((folder / "campaign.yaml").read_text())["campaign"],
            meta=meta,
            rounds=_rounds(connection),
            jobs=_jobs(connection),
            pool=_json(folder / "pool" / "pool.json", {}),
            ranking=_json(folder / "ranking.json", []),
            models=_models(folder / "models"),
            dataset=meta.get("dataset", {}),
            overrides=load_overrides(connection, folder),
            dossiers=_dossiers(connection),
            climbs=_climbs(connection),
        )
    except sqlite3.DatabaseError as error:
        raise CampaignError(f"the campaign's database cannot be read: {error}", where=database) from error
    finally:
        connection.close()


def _rounds(connection: sqlite3.Connection) -> tuple[Round, ...]:
    picks: dict[int, list[Pick]] = {}
    query = (
        "SELECT round, slot, candidate_id, candidate_index, trial_number, predictions, score, state, reason, labels "
        "FROM picks ORDER BY round, slot"
    )
    for row in connection.execute(query):
        pick = pick_from_row(row)
        picks.setdefault(pick.round, []).append(pick)
    rows = connection.execute("SELECT number, state, n_labelled, metrics FROM rounds ORDER BY number").fetchall()
    return tuple(Round(n, state, labelled, json.loads(m), tuple(picks.get(n, ()))) for n, state, labelled, m in rows)


def pick_from_row(row: Sequence[Any]) -> Pick:
    """A pick from its columns: round, slot, candidate_id, candidate_index, trial_number, predictions, score, state,
    reason, labels (JSON text where they are not plain)."""
    return Pick(
        round=row[0],
        slot=row[1],
        candidate_id=row[2],
        candidate_index=row[3],
        trial_number=row[4],
        predictions=json.loads(row[5]),
        score=json.loads(row[6]),
        state=PickState(row[7]),
        reason=row[8],
        labels=tuple(Label(**label) for label in json.loads(row[9])),
    )


def _jobs(connection: sqlite3.Connection) -> tuple[JobRecord, ...]:
    attempts: dict[str, list[AttemptRecord]] = {}
    for row in connection.execute("SELECT key, attempt, resources, outcome FROM attempts ORDER BY key, attempt"):
        attempts.setdefault(row[0], []).append(attempt_from_row(row[1:]))
    rows = connection.execute("SELECT key, name, state, attempts, spec, outcome FROM jobs ORDER BY rowid").fetchall()
    jobs = []
    for key, name, state, number, text, outcome in rows:
        spec, runs = json.loads(text), tuple(attempts.get(key, ()))
        features, family = spec.get("features", {}), spec.get("family", "")
        jobs.append(JobRecord(key, name, state, number, features, _outcome(outcome), family, runs))
    return tuple(jobs)


def attempt_from_row(row: Sequence[Any]) -> AttemptRecord:
    """An attempt from its columns: number, resources, outcome (JSON text)."""
    number, asked = row[0], Resources(**json.loads(row[1]))
    if not row[2]:
        return AttemptRecord(number, asked)
    ended = json.loads(row[2])
    used = ended.get("provenance", {}).get("compute", {})
    return AttemptRecord(
        number=number,
        asked=asked,
        kind=OutcomeKind(ended["kind"]),
        wall_s=ended["wall_s"],
        cpu_s=ended["cpu_s"],
        peak_mb=used.get("max_rss_mb"),
        granted=used.get("granted", {}),
        place=used.get("place", ""),
    )


def _outcome(text: str | None) -> Outcome | None:
    if not text:
        return None
    fields = json.loads(text)
    return Outcome(**{**fields, "kind": OutcomeKind(fields["kind"])})


def _dossiers(connection: sqlite3.Connection) -> dict[str, Any]:
    if not _has(connection, "dossiers"):
        return {}
    rows = connection.execute("SELECT candidate_id, content FROM dossiers ORDER BY rowid")
    return {name: json.loads(content) for name, content in rows}


def _climbs(connection: sqlite3.Connection) -> dict[str, tuple[Climb, ...]]:
    found: dict[str, tuple[Climb, ...]] = {}
    if _has(connection, "climbs"):
        for name, content in connection.execute("SELECT candidate_id, content FROM climbs ORDER BY candidate_id, rung"):
            found[name] = (*found.get(name, ()), Climb(**json.loads(content)))
    return found


def _has(connection: sqlite3.Connection, table: str) -> bool:
    """Folders of older versions lack some tables."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None


def _models(folder: Path) -> list[dict[str, Any]]:
    cards = sorted(folder.glob("*/card.json"), key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else -1)
    return [json.loads(card.read_text()) for card in cards]


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.is_file() else default
