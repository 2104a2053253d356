"""From a record to one HTML file."""

from __future__ import annotations

import os
from pathlib import Path

from materia.errors import StorageError
from materia.record import CampaignRecord

_ASSETS = Path(__file__).parent


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
    path = Path(path).resolve()
    page = render(record)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"the report cannot be written: {error.strerror or error}",
            where=path,
            remedy="check free space and permissions",
        ) from error
    return path


def render(record: CampaignRecord) -> str:
    """The page as text. Everything from the record is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from materia._version import __version__
    from materia.report._view import view

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ours = {name: Markup((_ASSETS / name).read_text(encoding="utf-8")) for name in ("page.css", "viewer.js", "page.js")}  # noqa: S704
    template = environment.get_template("page.html.j2")
    return template.render(
        style=ours["page.css"], viewer=ours["viewer.js"], script=ours["page.js"], version=__version__, **view(record)
    )
