"""``train`` and ``screen``: models of one's own, and whole pools predicted with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from materia.cli._input import assignments, settings_file
from materia.cli._output import console, print_json

if TYPE_CHECKING:
    from materia.campaign import Screened, Trained

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
SiteSet = Annotated[
    list[str] | None, typer.Option("--site-set", help="Replace an entry of the site profile, as NAME=VALUE.")
]
_ERRORS = {"mae": "MAE", "rmse": "RMSE", "coverage_90": "inside the 90 % interval"}
_MORE = {"mae_log10": "MAE of log10", "frobenius": "tensor: mean error", "frobenius_median": "median"}
_PROBABILITIES = {"balanced_accuracy": "balanced accuracy", "ece": "calibration error", "brier": "Brier score"}
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


def register(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(screen)


def train(
    out: Annotated[Path, typer.Option("--out", help="Model folder to write.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="JSON lines, JSON, extxyz (also .gz), ASE .db, or a folder of CIFs with a CSV."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Quantity to learn; NAME=COLUMN if the data call it otherwise.")
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option("--quantity", help='Declare a target: "hardness:GPa:log"; see docs/surrogate.md.'),
    ] = None,
    quantities: Annotated[Path | None, typer.Option("--quantities", help="YAML file of declarations.")] = None,
    start: Annotated[str, typer.Option("--start", help="base (shipped weights), none, or a model folder.")] = "base",
    epochs: Annotated[int | None, typer.Option("--epochs")] = None,
    members: Annotated[int | None, typer.Option("--members", help="Networks; each leaves out one fold.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Over all devices together.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate")] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="YAML file of settings, such as the best.yaml of a search.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting of the surrogate, as NAME=VALUE.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    device: Annotated[str | None, typer.Option("--device", help="auto (default), cpu or cuda.")] = None,
    devices: Annotated[
        int | None,
        typer.Option("--devices", help="Processes that train together, one a device (on a site: of a node)."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="32-true (default), 64-true, bf16-mixed or 16-mixed.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads of each process.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out as it was asked for.")] = (
        False
    ),
    site: Annotated[str | None, typer.Option("--site", help="Train as a job on this Slurm site.")] = None,
    site_set: SiteSet = None,
    nodes: Annotated[int, typer.Option("--nodes", help="On a site.")] = 1,
    gpus: Annotated[int, typer.Option("--gpus", help="On a site, of each node; one process each.")] = 0,
    memory_mb: Annotated[int, typer.Option("--memory-mb", help="On a site, of each node.")] = 4000,
    walltime_s: Annotated[int, typer.Option("--walltime-s", help="On a site; then it is requeued and goes on.")] = 3600,
    wait: Annotated[bool, typer.Option("--wait", help="On a site: until the model is there.")] = False,
    json: Json = False,
) -> None:
    """Train a surrogate on your own labelled structures, or go on where a training was cut off."""
    from materia.campaign import SiteJob, SubmittedTraining, leads_here, make_settings, read_quantities, train_on_site
    from materia.campaign import train as train_model

    origin = None if start == "none" else start
    given = {
        "epochs": epochs,
        "members": members,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "device": device,
        "devices": None if site else devices,
        "precision": precision,
        "threads": threads,
    }
    entries = {
        **settings_file(settings),
        **assignments(set_ or []),
        **{name: value for name, value in given.items() if value is not None},
    }
    asked: dict[str, Any] = {
        "quantities": [*(read_quantities(quantities) if quantities else []), *(quantity or [])],
        "start": origin,
        "settings": make_settings(entries, origin if data is not None else "base"),
        "seed": seed,
        "resume": resume,
    }
    trained: Trained | SubmittedTraining
    if site is None:
        trained = train_model(data, target or (), out, progress=not json and console().is_terminal, **asked)
    else:
        job = SiteJob(nodes, gpus or devices or 1, gpus, threads or 1, memory_mb, walltime_s)
        overrides = assignments(site_set or [])
        trained = train_on_site(data, target or (), out, site=site, overrides=overrides, job=job, wait=wait, **asked)
    if not leads_here():
        return
    if json:
        print_json(trained.to_json())
    elif isinstance(trained, SubmittedTraining):
        console().print(f"job {trained.job} is {trained.state}; log: {trained.log}", soft_wrap=True)
    else:
        _print_trained(trained)


def screen(
    sources: Annotated[list[Path], typer.Argument(help="A pool, a campaign, or files of structures.")],
    model: Annotated[Path, typer.Option("--model", help="Model folder, or a campaign folder (its last model).")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    shards: Annotated[int | None, typer.Option("--shards", help="Into how many the pool is cut.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Structures predicted at once.")] = 1024,
    device: Device = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the networks: for large pools.")] = False,
    site: Annotated[str | None, typer.Option("--site", help="Run the shards as an array on this Slurm site.")] = None,
    site_set: SiteSet = None,
    cores: Annotated[int, typer.Option("--cores", help="On a site, of one shard.")] = 1,
    memory_mb: Annotated[int, typer.Option("--memory-mb", help="On a site, of one shard.")] = 3000,
    walltime_s: Annotated[int, typer.Option("--walltime-s", help="On a site, of one shard.")] = 3600,
    json: Json = False,
) -> None:
    """Predict a whole pool into a Parquet file, or go on where that was cut off."""
    from materia.campaign import screen as screen_pool
    from materia.record import Resources

    with _bar(not json and console().is_terminal) as report:
        screened = screen_pool(
            sources,
            model,
            out,
            site=site,
            overrides=assignments(site_set or []),
            shards=shards,
            chunk=batch,
            device=device,
            resources=Resources(cores, memory_mb, walltime_s),
            compiled=compiled,
            report=report,
        )
    print_json(screened.to_json()) if json else _print_screened(screened)


@contextmanager
def _bar(show: bool) -> Iterator[Callable[[int, int], None] | None]:
    if not show:
        yield None
        return
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task("predicting", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_screened(screened: Screened) -> None:
    out, card = console(), screened.card
    out.print(f"{card['n']} structures predicted, {card['n_out_of_domain']} of them out of domain")
    if card["drift"]["alarm"]:
        out.print(
            "[yellow]note[/yellow] the structures lie farther from the training data than "
            f"{card['drift']['shift']:.0%} of the formulas it was checked on: the intervals may be too narrow"
        )
    if card["n_quarantined"]:
        out.print(f"{card['n_quarantined']} could not be:")
        for row in screened.quarantine[:5]:
            out.print(f"  {row['place']} {row['id']}: {row['reason']}", markup=False)
    out.print(f"result: {screened.file}", soft_wrap=True)


def _print_trained(trained: Trained) -> None:
    from rich.table import Table

    out, facts = console(), trained.to_json()
    title = f"held out by formula, {facts['n_train']} structures"
    for columns in (_ERRORS, _PROBABILITIES):
        found = {name: said for name, said in facts["targets"].items() if set(columns) <= set(said)}
        more = {key: text for key, text in _MORE.items() if any(key in said for said in found.values())}
        table = Table(title=title)
        for heading in ("target", "unit", *columns.values(), *more.values(), "n"):
            table.add_column(heading, justify="left" if heading in ("target", "unit") else "right", overflow="fold")
        for name, said in found.items():
            shown = [f"{said[k]:.4g}" if said.get(k) is not None else "" for k in (*columns, *more)]
            table.add_row(name, said["unit"], *shown, str(said["n"]))
        if found:
            out.print(table)
    if facts["n_unlabelled"]:
        out.print(f"{facts['n_unlabelled']} structures have none of the targets and were left out")
    if facts["n_quarantined"]:
        out.print(f"{facts['n_quarantined']} rows could not be used ({trained.folder / 'quarantine.jsonl'}):")
        for row in facts["quarantine"][:5]:
            out.print(f"  {row['place']}: {row['reason']}", markup=False)
    for warning in trained.warnings:
        out.print(f"[yellow]note[/yellow] {warning}")
    out.print(f"model: {trained.folder}", soft_wrap=True)
