"""``doctor`` and ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from materia.cli._output import NOT_YET, console, print_json

if TYPE_CHECKING:
    from materia.campaign import Finding

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def register(app: typer.Typer) -> None:
    app.command()(doctor)
    app.command()(predict)


def doctor(
    site: Annotated[
        str | None, typer.Option("--site", help="Ask the scheduler whether this site profile (name or path) fits.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--campaign", help="The same for the site of a campaign file, with its overrides.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what this machine can do and what is missing; with --site, what of a site profile does not fit.

    Exits with 1 if a campaign could not run, with 75 if a question to the scheduler had no answer.
    """
    from dataclasses import asdict

    from materia.campaign import doctor as examine

    findings = examine(site, file)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        from rich.markup import escape

        out = console()
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            out.print(f"{_mark(finding)}  {finding.name:<{width}}  {escape(finding.detail)}")
            if finding.remedy:
                out.print(f"         {'':<{width}}  [dim]{escape(finding.remedy)}[/dim]")
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)
    if not all(finding.answered for finding in findings):
        raise typer.Exit(NOT_YET)


def _mark(finding: Finding) -> str:
    if not finding.answered:
        return "[yellow]unknown[/yellow]"
    of_site = finding.name.startswith("site: ")
    colour, word = {
        True: ("green", "fits" if of_site else "ok"),
        None: ("yellow", "note" if of_site else "without"),
        False: ("red", "misfit" if of_site else "missing"),
    }[finding.ok]
    return f"[{colour}]{word:<7}[/{colour}]"


def predict(
    files: Annotated[list[Path], typer.Argument(help="CIF, POSCAR, extxyz or JSON files.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Model folder, or a campaign folder (its last model); default: shipped weights."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    json: Json = False,
) -> None:
    """Predict properties of structures, offline. Exits with 1 if a file could not be used."""
    from materia.campaign import predict as predict_files

    rows = predict_files(model, files, device=device)
    if json:
        print_json(rows)
    else:
        _print_predictions(rows)
    for row in rows:
        if "error" in row:
            typer.echo(f"error: {row['error']}", err=True)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _print_predictions(rows: list[dict[str, Any]]) -> None:
    """A line a structure; with more quantities than fit beside each other, a line a quantity."""
    from rich.table import Table

    table = Table()
    good = [row for row in rows if "error" not in row]
    names = list(good[0]["predictions"]) if good else []
    wide = len(names) <= 3
    for heading in ("file", "formula", *(names if wide else ("quantity", "prediction")), "in domain"):
        table.add_column(heading, overflow="fold")
    for row in good:
        domain = "yes" if row["in_domain"] else "no"
        shown = [_shown(p) for p in row["predictions"].values()]
        if wide:
            table.add_row(row["file"], row["formula"], *shown, domain)
            continue
        for k, (name, text) in enumerate(zip(names, shown, strict=True)):
            place = (row["file"], row["formula"]) if k == 0 else ("", "")
            table.add_row(*place, name, text, domain if k == 0 else "", end_section=k == len(names) - 1)
    console().print(table)


def _shown(p: dict[str, Any]) -> str:
    """One prediction in a cell of the table."""
    if p["form"] == "class":
        return f"{100 * p['probability']:.0f} %"
    unit = "" if p["unit"] == "1" else f" {p['unit']}"
    if p["form"] == "scalar":
        return f"{p['mean']:.3f} ± {p['std']:.3f} {p['unit']}"
    interval = f"{p['mean']:.3g} ({p['lower']:.3g} to {p['upper']:.3g}){unit}"
    if p["form"] == "tensor":
        return f"{interval}, eigenvalues {', '.join(f'{value:.3g}' for value in p['eigenvalues'])}"
    return interval
