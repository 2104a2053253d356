"""``references``: energies of the elements at a level of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from materia.cli._output import console, print_json

if TYPE_CHECKING:
    from materia.record import Outcome


def register(app: typer.Typer) -> None:
    app.command()(references)


def references(
    file: Annotated[str, typer.Argument(help="Campaign file; its ladder names level and file (ladder.references).")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Folder of the jobs; default: runs/references-LEVEL.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Compute the elements of a campaign's space at its level, for formation energies; resumes where it was stopped.

    Exits with 1 if an element's calculation failed.
    """
    from materia.campaign import compute_references, find_campaign_file

    out = console()

    def on_job(element: str, outcome: Outcome) -> None:
        if json:
            return
        if outcome.ok:
            out.print(f"{element:<3} {outcome.values['energy_per_atom']:12.4f} eV/atom")
        else:
            out.print(f"{element:<3} failed: {outcome.message or outcome.reason}", markup=False)

    done = compute_references(find_campaign_file(file), folder, progress=not json and out.is_terminal, on_job=on_job)
    if json:
        print_json(
            {
                "file": str(done.path),
                "level": done.references.level,
                "elements": sorted(done.references.elements),
                "new": list(done.new),
                "failed": dict(done.failed),
                "without": list(done.without),
            }
        )
    else:
        out.print(f"{len(done.references.elements)} elements at level {done.references.level} in {done.path}")
        if done.without:
            out.print(f"materia knows no reference phase of {', '.join(done.without)}: no formation energies with them")
    if done.failed:
        raise typer.Exit(1)
