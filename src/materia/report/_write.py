"""From a record to one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from materia import files
from materia.record import CampaignRecord

_ASSETS = Path(__file__).parent
_SCRIPTS = {"viewer.js": "viewer", "page.js": "script"}


def write_report(record: CampaignRecord, path: str | Path) -> Path:
    """Write the campaign's page: one file that needs no network, as it stands, running or finished.

    Args:
        record: the campaign.
        path: of the page; folders are made. It is replaced whole or not at all.

    Returns:
        The absolute path of the page.

    Raises:
        StorageError: it cannot be written.
    """
    return put_page(path, render(record))


def put_page(path: str | Path, page: str) -> Path:
    """Write a page whole or not at all; folders are made; returns its absolute path.

    Raises:
        StorageError: it cannot be written.
    """
    path = Path(path).resolve()
    files.write_whole(path, page, "the report cannot be written")
    return path


def render(record: CampaignRecord) -> str:
    """The page as text. Everything from the record is escaped."""
    from materia.report._view import view

    return fill("page.html.j2", view(record), ("viewer.js", "page.js"))


def fill(template: str, values: dict[str, Any], scripts: tuple[str, ...] = ()) -> str:
    """A template of this folder filled in, with the style sheet and scripts inside; every value is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from materia._version import __version__

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ours = {name: Markup((_ASSETS / name).read_text(encoding="utf-8")) for name in ("page.css", *scripts)}  # noqa: S704
    given = {"style": ours["page.css"], **{_SCRIPTS[name]: ours[name] for name in scripts}, "version": __version__}
    return environment.get_template(template).render(**given, **values)
