"""What of a campaign file may change once the campaign is started: how long it goes on, and where its jobs run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from materia.campaign._database import CampaignDatabase
from materia.campaign._settings import CampaignSettings
from materia.errors import CampaignError

# Nothing here decides what is computed of a candidate, or moves a pick that was made; where jobs are under way stays.
_OF_COMPUTE = ("cores", "memory_mb", "ranks", "mpi", "energy", "retries", "estimates", "stores")
_OF_SEARCH = ("rounds", "stop", "approval", "max_cost_s")
MAY_CHANGE = frozenset([*(f"compute.{key}" for key in _OF_COMPUTE), *(f"search.{key}" for key in _OF_SEARCH)])
_EXTENDS = frozenset({"search.rounds", "search.stop"})

Changes = dict[str, tuple[Any, Any]]


def changes(old: CampaignSettings, new: CampaignSettings, *, file: Path, folder: Path) -> Changes:
    """``section.key`` -> value the campaign was started with, value now; empty where nothing differs.

    Raises:
        CampaignError: something else than :data:`MAY_CHANGE` differs, or rounds are added behind a required plan.
    """
    before, after = _flat(old), _flat(new)
    found = {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }
    if others := [key for key in found if key not in MAY_CHANGE]:
        raise CampaignError(
            f"the folder holds a campaign started with other settings than {file}: {', '.join(others)}",
            where=folder,
            remedy=f"choose another --folder, or restore them; free to change are {', '.join(sorted(MAY_CHANGE))}",
        )
    if old.search.plan == "required" and new.search.rounds > old.search.rounds:
        raise CampaignError(
            f"{new.search.rounds} rounds in the place of {old.search.rounds}, and search.plan is required",
            where=folder,
            remedy="make a dataset of this campaign (materia data build), and plan one that starts from it",
        )
    return found


def record_changes(database: CampaignDatabase, found: Changes, when: str) -> None:
    """Keep what the settings were, and let a finished campaign go on where its end was moved.

    Repeated after a kill it keeps nothing twice.
    """
    meta = database.meta()
    kept = meta.get("changes", [])
    latest = {row["setting"]: row["to"] for row in kept}
    rows = [
        {"when": when, "setting": key, "from": old, "to": new}
        for key, (old, new) in found.items()
        if key not in latest or latest[key] != new
    ]
    going_on: dict[str, Any] = {}
    if meta.get("state") == "finished" and _EXTENDS & found.keys():
        going_on = {"state": "running", "outputs": "", "stopped_because": ""}
    with database.transaction():
        database.set_meta({"changes": [*kept, *rows], **going_on})


def _flat(settings: CampaignSettings) -> dict[str, Any]:
    """``section.key`` of the sections that are mappings, the name of the section for all others."""
    flat: dict[str, Any] = {}
    for section, content in settings.model_dump(mode="json").items():
        if isinstance(content, Mapping):
            flat |= {f"{section}.{key}": value for key, value in content.items()}
        else:
            flat[section] = content
    return flat
