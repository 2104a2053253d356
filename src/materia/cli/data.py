"""``data``: datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from materia.cli._output import console, print_json

app = typer.Typer(help="Datasets: look at, export and build them.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Dataset_ = Annotated[Path | None, typer.Option("--dataset", help="Dataset folder; default: the shipped one.")]


@app.command()
def info(dataset: Dataset_ = None, json: Json = False) -> None:
    """The card of a dataset, checked against its content."""
    from materia.data import Dataset

    found = Dataset.load(_folder(dataset))
    if json:
        print_json(dict(found.card))
        return
    counts = ("n", "n_computed", "materials", "elements", "prototypes", "failures")
    for key in ("name", "title", *counts, "licence", "digest"):
        if key in found.card:
            console().print(f"{key:<12} {found.card[key]}")


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="Target: .db (ASE database), .extxyz or .xyz.")],
    dataset: Dataset_ = None,
) -> None:
    """Write a dataset as an ASE database or extended XYZ."""
    from materia.data import Dataset
    from materia.data import export as write

    n = write(Dataset.load(_folder(dataset)).entries, path)
    console().print(f"wrote {n} structures to {path}")


@app.command()
def build(
    folders: Annotated[list[Path], typer.Argument(help="Campaign folders, and datasets to add to.")],
    out: Annotated[Path, typer.Option("--out", help="Dataset folder to write.")],
    name: Annotated[str, typer.Option("--name", help="Name on the card.")],
    licence: Annotated[str, typer.Option("--licence", help="Licence of the data.")] = "CC-BY-4.0",
    title: Annotated[str, typer.Option("--title", help="One line on the card.")] = "",
    description: Annotated[
        Path | None, typer.Option("--description", help="Text file: a paragraph for the card.")
    ] = None,
) -> None:
    """Make a dataset of what campaigns computed, failures included, or add that to one."""
    from materia.campaign import build_dataset

    card = {"licence": licence, "title": title or name}
    if description is not None:
        card["description"] = description.read_text().strip()
    made = build_dataset(folders, name=name, card=card).save(out)
    console().print(f"wrote {len(made)} entries ({len(made.computed)} computed) to {out}, digest {made.digest[:12]}")


@app.command(name="import")
def import_(
    sources: Annotated[list[Path], typer.Argument(help="Files, and folders that are walked.")],
    out: Annotated[Path, typer.Option("--out", help="Dataset folder to write or to add to.")],
    json: Json = False,
) -> None:
    """Make labels of finished calculations: VASP, Quantum ESPRESSO, GPAW, atomate2, Materials Project."""
    from materia.campaign import import_calculations

    found = import_calculations(sources, out)
    by_id = {entry.id: entry for entry in found.dataset}
    if json:
        print_json(
            {
                "out": str(out),
                "digest": found.dataset.digest,
                "n": len(found.dataset),
                "new": [{"id": name, "labels": by_id[name].values(), "done": name in found.done} for name in found.new],
                "known": found.known,
                "quarantine": [{"place": q.place, "reason": q.reason} for q in found.quarantine],
            }
        )
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("entry", "program", "level", "labels", "done")
    for name in found.new:
        entry = by_id[name]
        made = ", ".join(f"{label.quantity} {label.value:.3f}" for label in entry.labels)
        levels = ", ".join(sorted({label.level for label in entry.labels}))
        table.add_row(name, str(entry.jobs[-1].provenance["code"]), levels, made, "yes" if name in found.done else "")
    if found.new:
        console().print(table)
    aside = Table("set aside", "why")
    for row in found.quarantine:
        aside.add_row(escape(row.place), escape(row.reason))
    if found.quarantine:
        console().print(aside)
    console().print(
        f"{len(found.new)} new, {found.known} known already, {len(found.quarantine)} set aside; "
        f"{len(found.dataset)} in {out}, digest {found.dataset.digest[:12]}"
    )


def _folder(given: Path | None) -> Path:
    if given is not None:
        return given
    from materia.resources import resource

    return resource("data/dataset")
