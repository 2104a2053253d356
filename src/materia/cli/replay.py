"""``replay``, ``plan``: strategies on data whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from materia.cli._output import console, print_json


def register(app: typer.Typer) -> None:
    for verb in (replay, plan):
        app.command()(verb)


def replay(
    config: Annotated[Path, typer.Argument(help="Replay file (YAML); see docs/replay.md.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="For runs, figures and page; default: replays/NAME.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Let strategies loose on data with known answers; finished runs are kept, the same command resumes."""
    from materia.campaign import replay as run

    with _progress(not json) as on_run:
        result = run(config, folder, jobs=jobs, on_run=on_run)
    print_json(result) if json else _print(result)


def plan(
    file: Annotated[str, typer.Argument(help="Campaign file, or the name of one that ships.")],
    folder: Annotated[Path | None, typer.Option("--folder", help="Campaign folder; default: runs/NAME.")] = None,
    override: Annotated[
        str, typer.Option("--override", help="Reason to run the campaign although the backtest refuses; recorded.")
    ] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Runs of each strategy.")] = 10,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Backtest a campaign on the labels at hand; exit code 1 where it is not worth running."""
    from materia.campaign import plan as run
    from materia.campaign import require_worth

    with _progress(not json) as on_run:
        found = run(file, folder, override=override, seeds=seeds, jobs=jobs, on_run=on_run)
    print_json(found) if json else _print_plan(found)
    require_worth(found)


@contextmanager
def _progress(wanted: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar over runs on a terminal; yields what sets it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    out = console()
    if not (wanted and out.is_terminal):
        yield lambda done, total: None
        return
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _print_plan(found: dict[str, Any]) -> None:
    from materia.simulation import ExpectedError

    out = console()
    out.print(f"{found['name']}: {found['hits']} hits among {found['labels']} labelled structures")
    if found["verdict"] == "unknown":
        out.print(f"Fewer than {found['needed_hits']} known hits: a backtest cannot tell what the strategy is worth.")
        out.print("Plan a round of exploration first (search: {rounds: 1, exploration: 1.0}):")
    else:
        for title, key in (("random choice", "acceleration"), ("a forest", "against_forest")):
            speed = found[key]
            text = f"{speed['value']:.2f} times as fast as {title} (95 %: {speed['low']:.2f} to {speed['high']:.2f})"
            out.print(f"  {text}")
    if (error := found["level"]["expected_error"]) is not None:
        out.print(f"  level {found['level']['name']} differs {ExpectedError(**error)}", highlight=False)
    cost = found["cost"]
    if "unknown" in cost:
        out.print(f"  {found['picks']} calculations; their cost is not known here: {cost['unknown']}")
    else:
        nodes = "" if cost["node_hours"] is None else f", {cost['node_hours']:.2f} node-hours"
        missing = "CO2e not counted: its factors are not set (compute.energy, or energy in the site profile)"
        co2e = missing if cost["co2e_kg"] is None else f"{cost['co2e_kg']:.3f} kg CO2e"
        out.print(
            f"  {found['picks']} calculations: {cost['cpu_hours']:.2f} CPU hours{nodes}, "
            f"{cost['wall_hours']:.2f} h on the wall without queues; {co2e}"
        )
        if cost["cpu_s_validation"] is not None:
            out.print(
                f"  competing phases: at most {cost['cpu_s_validation'] / 3600:.2f} CPU hours for each hit on top"
            )
    if found["verdict"] == "overridden":
        out.print(f"  the backtest speaks against it; overridden: {found['override']['reason']}")


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
    for name, found in result["strategies"].items():
        if "stop" in found:
            _print_stop(name, found["stop"])
    out.print(f"page       {result['page']}")


def _print_stop(name: str, stop: dict[str, Any]) -> None:
    near = (
        f", {100 * stop['off']['value']:.0f} % off the oracle's {stop['oracle']['value']:.0f}" if "off" in stop else ""
    )
    console().print(
        f"{name} would have stopped after {stop['step']['value']:.0f} calculations{near}, "
        f"with {100 * stop['lost']['value']:.1f} % of the hits lost ({stop['stopped']} of {stop['seeds']} runs stopped)"
    )
