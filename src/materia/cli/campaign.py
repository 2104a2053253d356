"""``run``, ``step``, ``status``, ``report``, ``init``: campaigns."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from materia.cli._output import NOT_YET, console, print_json

if TYPE_CHECKING:
    from materia.record import CampaignRecord

File = Annotated[str, typer.Argument(help="Campaign file, name of a shipped one (tiny, quickstart), or a folder.")]
Folder = Annotated[Path, typer.Argument(help="Campaign folder, such as runs/quickstart.")]
Where = Annotated[Path | None, typer.Option("--folder", help="Campaign folder; default: runs/NAME.")]
Override = Annotated[
    str, typer.Option("--override", help="Reason to start although no plan speaks for it; recorded. See search.plan.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def register(app: typer.Typer) -> None:
    for verb in (run, submit, step, status, report, init):
        app.command()(verb)


def run(
    file: File,
    folder: Where = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0, help="Leave between two steps after this time.")
    ] = None,
    override: Override = "",
    json: Json = False,
) -> None:
    """Run a campaign to its end, or resume it where it was stopped.

    Exits with 75 if it is not finished after --seconds, or if another driver holds it.
    """
    from rich.markup import escape

    from materia.campaign import Step
    from materia.campaign import run as run_campaign

    path, where = _campaign(file, folder)
    out = console()
    last = ""

    def on_step(done: Step, driver: Any) -> None:
        nonlocal last
        if not json and not last and driver.campaign.advice:
            out.print(f"[dim]{'plan':>14}[/dim]  {escape(driver.campaign.advice)}")
        if not json and not last:
            for key, (old, new) in driver.campaign.changed.items():
                out.print(f"[dim]{'changed':>14}[/dim]  {escape(f'{key}: {old} -> {new}')}")
        if not json and done.message != last:
            out.print(f"[dim]{done.phase.value:>14}[/dim]  {done.message}")
            last = done.message

    record = run_campaign(
        path, where, progress=not json and out.is_terminal, on_step=on_step, seconds=seconds, override=override
    )
    if record.state == "finished":
        print_json(_summary(record)) if json else _print_result(record)
        return
    print_json(_summary(record)) if json else out.print("not finished; the same command resumes")
    raise typer.Exit(NOT_YET)


def submit(file: File, folder: Where = None, override: Override = "", json: Json = False) -> None:
    """Run a campaign as a Slurm job that submits its own successor until the campaign is finished."""
    from dataclasses import asdict

    from materia.campaign import submit as submit_campaign

    path, where = _campaign(file, folder)
    out = console()
    done = submit_campaign(path, where, progress=not json and out.is_terminal, override=override)
    if json:
        print_json({**asdict(done), "log": str(done.log)})
    else:
        if done.advice:
            out.print(f"plan: {done.advice}", markup=False)
        out.print(f"driver job {done.job} ({done.name}); it says in {done.log} what it does")
        out.print(f"stop it with: scancel --name={done.name}")


def _campaign(file: str, folder: Path | None) -> tuple[Path | None, Path]:
    """Campaign file and folder; a folder in place of the file resumes what it holds."""
    from materia.campaign import find_campaign_file, load_settings

    if folder is None and (Path(file) / "campaign.yaml").is_file():
        return None, Path(file)
    path = find_campaign_file(file)
    return path, folder or Path("runs") / load_settings(path).name


def step(
    folder: Folder,
    file: Annotated[
        str | None, typer.Option("--file", help="Campaign file to start from, if the folder is new.")
    ] = None,
    override: Override = "",
    json: Json = False,
) -> None:
    """Do one idempotent tick of a campaign, as from cron."""
    from materia.campaign import find_campaign_file
    from materia.campaign import step as one_step

    done = one_step(folder, None if file is None else find_campaign_file(file), override=override)
    if json:
        print_json({"phase": done.phase.value, "message": done.message, "waiting": done.waiting})
    else:
        console().print(f"{done.phase.value}: {done.message}")


def status(folder: Folder, json: Json = False) -> None:
    """Where a campaign stands; safe while it runs."""
    from materia.compute import driver_trouble
    from materia.record import load_campaign
    from materia.report import remaining_summary, told_remaining

    record = load_campaign(folder)
    trouble = "" if record.state == "finished" else driver_trouble(record.folder)
    if json:
        print_json({**_summary(record), "driver_trouble": trouble})
        return
    out = console()
    out.print(f"[bold]{record.name}[/bold]  {record.state}  ({record.pool.get('n', 0)} candidates in the pool)")
    for found in record.rounds:
        states = [pick.state.value for pick in found.picks]
        known = ("computed", "stopped", "failed", "vetoed", "pending", "proposed")
        counts = ", ".join(f"{states.count(s)} {s}" for s in known if s in states)
        out.print(f"  round {found.number}: {found.state}; {counts or 'no picks yet'}")
    running = [job for job in record.jobs if job.outcome is None]
    for job in running:
        out.print(f"  [dim]{job.state:>10}[/dim]  {job.name}")
    if left := remaining_summary(record):
        out.print(f"  still to be found: {told_remaining(left[-1])}", markup=False)
    if trouble:
        out.print(f"[red]no driver job comes any more:[/red] {trouble}")
    _print_people(record)


def _print_people(record: CampaignRecord) -> None:
    from materia.report import overrides_summary, told

    out, found = console(), overrides_summary(record)
    if found["approval"]["waiting"]:
        out.print(f"  waiting for approval: {', '.join(found['approval']['waiting'])}", markup=False)
    for o in [*found["open"], *found["vetoes"]]:
        seen = "" if o["state"] != "waiting" else " (the driver has not seen it yet)"
        cancelled = f" (cancelled in round {o['cancelled']['round']})" if o.get("cancelled") else ""
        out.print(f"  {o['kind']} {o['candidate_id']} by {o['who']}: {o['why']}{seen}{cancelled}", markup=False)
    for o in found["void"]:
        out.print(f"  {o['kind']} {o['candidate_id']} by {o['who']} came to nothing: {o['note']}", markup=False)
    if found["pins"]["picks"]:
        out.print(f"  pinned by people: {told(found['pins'])}", markup=False)
        out.print(f"  by the strategy:  {told(found['strategy'])}", markup=False)


def report(folder: Folder, json: Json = False) -> None:
    """Write the HTML report and the MLflow record of a campaign anew."""
    from materia.campaign import write_report

    page = write_report(folder)
    print_json({"report": str(page)}) if json else console().print(f"report: {page}")


def init(
    name: Annotated[str, typer.Argument(help="Name of a shipped campaign file (tiny, quickstart).")],
    target: Annotated[Path | None, typer.Argument(help="Where to copy it; default: ./NAME.yaml.")] = None,
) -> None:
    """Copy a shipped campaign file to start from."""
    from materia.campaign import find_campaign_file
    from materia.errors import ConfigError

    source = find_campaign_file(name)
    target = target or Path(f"{source.stem}.yaml")
    if target.exists():
        raise ConfigError("the file exists already", where=target, remedy="choose another name")
    shutil.copyfile(source, target)
    console().print(f"wrote {target}; start it with: materia run {shlex.quote(str(target))}")


def _summary(record: CampaignRecord) -> dict[str, Any]:
    from materia.record import to_json
    from materia.report import ladder_summary, overrides_summary, remaining_summary, totals

    return {
        "name": record.name,
        "state": record.state,
        "folder": str(record.folder),
        "pool": {"n": record.pool.get("n"), "hash": record.pool.get("hash")},
        "stopped_because": record.meta.get("stopped_because", ""),
        "plan": record.meta.get("plan"),
        "changes": record.meta.get("changes", []),
        "remaining": remaining_summary(record),
        "cost": totals(record),
        "rounds": to_json(record.rounds),
        "ladder": {"tests": ladder_summary(record), "climbs": to_json(record.climbs)},
        "ranking": record.ranking,
        "overrides": {"decided": to_json(record.overrides), **overrides_summary(record)},
        "report": str(record.folder / "report" / "index.html"),
    }


def _print_result(record: CampaignRecord) -> None:
    from rich.table import Table

    from materia.quantities import REGISTRY

    out = console()
    computed = [row for row in record.ranking if row["status"] == "computed"]
    shown = computed[:16]
    names = [q for q in REGISTRY if any(q in row["values"] for row in shown) and q in _HEADINGS]
    table = Table(
        title=f"{record.name}: ranked, computed with DFT (PBE, level {_level(record)}; predicted in brackets)"
    )
    table.add_column("#", justify="right")
    for heading in ("candidate", "status", "hit"):
        table.add_column(heading, no_wrap=True)
    for name in names:
        table.add_column(_HEADINGS[name], justify="right", no_wrap=True)
    for row in shown:
        cells = [_cell(row, name) for name in names]
        table.add_row(str(row["rank"]), row["candidate_id"], _standing(row), "yes" if row["hit"] else "", *cells)
    out.print(table)
    failed = sum(row["status"] == "failed" for row in record.ranking)
    stopped = sum(row["status"] == "stopped" for row in record.ranking)
    hits = sum(row["hit"] for row in computed)
    on_the_way = f" {stopped} stopped on the ladder;" if stopped else ""
    out.print(f"{len(computed)} computed by this campaign, {hits} of them hits;{on_the_way} {failed} failed.")
    known = [row["candidate_id"] for row in record.ranking if row["status"] == "labelled" and row["hit"]]
    if known:
        out.print(f"Known before, never picked, and meeting the same conditions: {', '.join(known)}.")
    out.print(f"[dim]{_said_of_phases(record)}[/dim]")
    folder = record.folder
    out.print(f"\nreport     {folder / 'report' / 'index.html'}")
    out.print(f"structures {folder / 'results.db'}  ({_program('ase')} db {shlex.quote(str(folder / 'results.db'))})")
    if (folder / "mlflow.db").is_file():
        uri = f"sqlite:///{os.path.relpath(folder / 'mlflow.db')}"
        out.print("the MLflow record, the report in it, opens in a browser with")
        out.print(f"  {_program('mlflow')} ui --backend-store-uri {shlex.quote(uri)}")


def _standing(row: dict[str, Any]) -> str:
    from materia.record import is_validated

    return "validated" if is_validated(row) else str(row["status"])


def _said_of_phases(record: CampaignRecord) -> str:
    """What the hull that results are held against is worth."""
    if not record.validates:
        return "computed, not validated: competing phases outside the known hull were not computed."
    compared = [row for row in record.ranking if row.get("validation")]
    validated = [row for row in compared if row["validation"]["validated"]]
    still = sum(bool(row["hit"]) for row in validated)
    said = f"{len(validated)} validated, their competing phases computed at the same level; {still} of them hits still."
    for row in compared:
        if because := row["validation"]["because"]:
            said += f"\n{row['candidate_id']} is not validated: {because}."
    return said


def _program(name: str) -> str:
    """As it can be typed here: by name if it is on PATH, else by the path beside this Python."""
    beside = Path(sys.executable).parent / name
    return name if shutil.which(name) or not beside.exists() else os.path.relpath(beside)


_HEADINGS = {
    "gap_pbe": "PBE gap (eV)",
    "gap_pbe_soc": "PBE+SOC (eV)",
    "gap_gllbsc_own": "GLLB-SC (eV)",
    "gap_hse06_on_pbe": "HSE06@PBE (eV)",
    "gap_hse06_soc_on_pbe": "HSE06+SOC (eV)",
    "energy_above_hull": "above hull (eV/atom)",
    "supply_risk": "supply risk",
}


def _cell(row: dict[str, Any], name: str) -> str:
    value = row["values"].get(name)
    guess = row["predictions"].get(name)
    text = "" if value is None else f"{value:.3f}"
    if guess is not None and guess["std"] > 0:
        text += f" [dim]({guess['mean']:.2f}±{guess['std']:.2f})[/dim]"
    return text


def _level(record: CampaignRecord) -> str:
    return str(record.meta.get("level", {}).get("name", "?"))
