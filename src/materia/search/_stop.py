"""When a campaign has done enough. Further rules belong here."""

from __future__ import annotations

from materia.search._settings import SearchSettings


def finished(settings: SearchSettings, rounds_closed: int) -> str:
    """Why the campaign ends now, or an empty string while it goes on."""
    if rounds_closed >= settings.rounds:
        return f"all {settings.rounds} rounds are closed"
    return ""
