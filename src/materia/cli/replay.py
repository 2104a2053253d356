"""``replay``: strategies on data whose answers are known."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from materia.cli._output import console, print_json


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    config: Annotated[Path, typer.Argument(help="Replay file (YAML); see docs/replay.md.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="For runs, figures and page; default: replays/NAME.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Let strategies loose on data with known answers; finished runs are kept, the same command resumes."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from materia.campaign import replay as run

    out = console()
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = Progress(*columns, console=out, transient=True) if not json and out.is_terminal else None
    with shown or nullcontext():
        task = shown.add_task("", total=None) if shown else None

        def on_run(done: int, total: int) -> None:
            if shown is not None and task is not None:
                shown.update(task, completed=done, total=total)

        result = run(config, folder, jobs=jobs, on_run=on_run)
    print_json(result) if json else _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.table import Table

    out, goal = console(), result["goal"]
    table = Table(title=f"{result['name']}: calculations to {goal['wanted']} of {goal['hits']} hits in {goal['pool']}")
    table.add_column("strategy")
    for heading in ("acceleration", "95 % interval", "calculations", "got there", "CPU s/round"):
        table.add_column(heading, justify="right")
    for name, found in result["strategies"].items():
        speed, cpu = found["acceleration"], found["cpu_s_round"]
        table.add_row(
            name,
            f"{speed['value']:.2f}",
            f"{speed['low']:.2f} to {speed['high']:.2f}",
            f"{found['calculations']['value']:.0f}",
            f"{found['reached']} of {found['seeds']}",
            f"{cpu['learn'] + cpu['choose']:.2f}",
        )
    out.print(table)
    out.print(f"acceleration: against random choice, which needs {goal['random_calculations']:.0f} on average")
    out.print(f"page       {result['page']}")
