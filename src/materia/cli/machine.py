"""``doctor`` and ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from materia.cli._output import console, print_json

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def register(app: typer.Typer) -> None:
    app.command()(doctor)
    app.command()(predict)


def doctor(json: Json = False) -> None:
    """Say what this machine can do and what is missing. Exits with 1 if a campaign could not run."""
    from dataclasses import asdict

    from materia.campaign import doctor as examine

    findings = examine()
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        out = console()
        for finding in findings:
            mark = {True: "[green]ok[/green]     ", None: "[yellow]without[/yellow]", False: "[red]missing[/red]"}[
                finding.ok
            ]
            out.print(f"{mark}  {finding.name:<16} {finding.detail}")
            if finding.remedy:
                out.print(f"         {'':<16} [dim]{finding.remedy}[/dim]")
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


def predict(
    files: Annotated[list[Path], typer.Argument(help="CIF, POSCAR, extxyz or JSON files.")],
    model: Annotated[Path, typer.Option("--model", help="Model folder, or a campaign folder (its last model).")],
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    json: Json = False,
) -> None:
    """Predict properties of structures with a trained surrogate. Exits with 1 if a file could not be used."""
    from materia.campaign import predict as predict_files

    rows = predict_files(model, files, device=device)
    if json:
        print_json(rows)
    else:
        from rich.table import Table

        table = Table()
        names = list(next((row["predictions"] for row in rows if "predictions" in row), {}))
        for heading in ("file", "formula", *names, "in domain"):
            table.add_column(heading)
        for row in rows:
            if "error" in row:
                continue
            values = [f"{p['mean']:.3f} ± {p['std']:.3f} {p['unit']}" for p in row["predictions"].values()]
            table.add_row(row["file"], row["formula"], *values, "yes" if row["in_domain"] else "no")
        console().print(table)
    for row in rows:
        if "error" in row:
            typer.echo(f"error: {row['error']}", err=True)
    if any("error" in row for row in rows):
        raise typer.Exit(1)
