"""The report and the MLflow record of a campaign, written anew from what is on disk."""

from __future__ import annotations

from pathlib import Path

from materia.campaign._settings import parse_settings
from materia.record import load_campaign
from materia.report import write_report as write_page
from materia.tracking import track


def write_report(folder: str | Path) -> Path:
    """Write the campaign's HTML page and MLflow record from its folder; returns the page.

    Needs no driver and changes nothing else, so it may run beside one.

    Raises:
        CampaignError: there is no campaign in the folder.
    """
    record = load_campaign(folder)
    page = write_page(record, Path(folder) / "report" / "index.html")
    settings = parse_settings(dict(record.settings), where=Path(folder) / "campaign.yaml")
    if settings.tracking.enabled:
        track(record, settings.tracking)
    return page
