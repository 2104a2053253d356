"""``tune``: the surrogate's settings, searched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from materia.cli._input import assignments
from materia.cli._output import console, print_json

if TYPE_CHECKING:
    from materia.campaign import Trial, Tuned


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    out: Annotated[Path, typer.Option("--out", help="Folder of the search.")],
    data: Annotated[Path | None, typer.Option("--data", help="Labelled structures, as for train.")] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Quantity to learn; NAME=COLUMN if the data call it otherwise.")
    ] = None,
    quantity: Annotated[
        list[str] | None, typer.Option("--quantity", help='Declare a target: "NAME:UNIT:KIND".')
    ] = None,
    start: Annotated[str, typer.Option("--start", help="base (shipped weights), none, or a model folder.")] = "base",
    search: Annotated[
        list[str] | None,
        typer.Option("--search", help="What is searched: NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting that is not searched, as NAME=VALUE.")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many end the search.")] = 30,
    folds: Annotated[int, typer.Option("--folds", min=2, max=20, help="Of the formulas.")] = 5,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes that share the search.")] = 1,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="MLflow's; default: mlflow.db in the folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Search the surrogate's settings on your own labelled structures, or go on where that was cut off."""
    from materia.campaign import make_settings
    from materia.campaign import tune as search_settings
    from materia.tracking import TrackingSettings

    origin = None if start == "none" else start
    entries = assignments(set_ or [])
    with _bar(not json and console().is_terminal) as report:
        tuned = search_settings(
            data,
            target or (),
            out,
            quantities=quantity or (),
            start=origin,
            settings=make_settings(entries, origin),
            search=search or (),
            trials=trials,
            folds=folds,
            jobs=jobs,
            seed=seed,
            tracking=TrackingSettings(uri=tracking_uri),
            report=report,
        )
    print_json(tuned.to_json()) if json else _print(tuned)


@contextmanager
def _bar(show: bool) -> Iterator[Callable[[Sequence[Trial], int], None] | None]:
    if not show:
        yield None
        return
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task("searching", total=None)

        def report(trials: Sequence[Trial], wanted: int) -> None:
            scores = [t.score for t in trials if t.state == "complete" and t.score is not None]
            best = f", best {min(scores):.4f}" if scores else ""
            ended = sum(t.state != "running" for t in trials)
            progress.update(task, completed=ended, total=wanted, description=f"searching{best}")

        yield report


def _print(tuned: Tuned) -> None:
    from rich.table import Table

    out = console()
    table = Table(title="error over that of the training median, held out by formula")
    for heading in ("trial", "state", "score", "settings"):
        table.add_column(heading, justify="right" if heading in ("trial", "score") else "left")
    order = sorted(tuned.trials, key=lambda t: (t.state != "complete", t.score or 0.0, t.number))
    for t in order[:10]:
        settings = ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in t.settings.items())
        table.add_row(str(t.number), t.state, "" if t.score is None else f"{t.score:.4f}", settings or t.message)
    out.print(table)
    states = [t.state for t in tuned.trials]
    out.print(", ".join(f"{states.count(s)} {s}" for s in ("complete", "pruned", "failed") if s in states))
    if tuned.default_score is not None:
        out.print(f"settings as given: {tuned.default_score:.4f}; best: {tuned.score:.4f}")
    out.print(
        "the best of many trials looks better on these folds than it is: check it on formulas left out of all this"
    )
    out.print(f"settings: {tuned.folder / 'best.yaml'}", soft_wrap=True)
    if tuned.untracked:
        out.print(tuned.untracked, markup=False)
    if tuned.tracking is not None and tuned.tracking.command:
        out.print(f"MLflow: {tuned.tracking.command}", soft_wrap=True, markup=False)
