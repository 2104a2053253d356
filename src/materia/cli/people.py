"""``pin``, ``veto``, ``approve`` and ``trace``: people in the loop, and why a candidate was picked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from materia.cli._output import console, print_json

if TYPE_CHECKING:
    from materia.record import Decision

Folder = Annotated[Path, typer.Argument(help="Campaign folder, such as runs/quickstart.")]
Candidates = Annotated[list[str], typer.Argument(help="Ids of candidates, as in the report.")]
Why = Annotated[str, typer.Option("--why", help="The reason; it is kept with the decision.")]
Who = Annotated[str | None, typer.Option("--who", help="Who decides; default: the login name.")]
Undo = Annotated[
    bool,
    typer.Option(
        "--undo", help="Withdraw it: a pin or an approval as long as it has had no effect, a veto at any time."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def register(app: typer.Typer) -> None:
    for verb in (pin, veto, approve, trace):
        app.command()(verb)


def pin(
    folder: Folder, candidates: Candidates, why: Why, who: Who = None, undo: Undo = False, json: Json = False
) -> None:
    """Have candidates computed next, whatever the strategy thinks of them."""
    from materia.campaign import pin as decide

    _decide(decide, folder, candidates, why, who, undo, json)


def veto(
    folder: Folder, candidates: Candidates, why: Why, who: Who = None, undo: Undo = False, json: Json = False
) -> None:
    """Have candidates never computed; a pick that has not ended is cancelled."""
    from materia.campaign import veto as decide

    _decide(decide, folder, candidates, why, who, undo, json)


def approve(
    folder: Folder, candidates: Candidates, why: Why, who: Who = None, undo: Undo = False, json: Json = False
) -> None:
    """Have proposed picks computed, where the campaign asks for approval."""
    from materia.campaign import approve as decide

    _decide(decide, folder, candidates, why, who, undo, json)


def _decide(
    decide: Callable[..., Decision],
    folder: Path,
    candidates: list[str],
    why: str,
    who: str | None,
    undo: bool,
    json: bool,
) -> None:
    decision = decide(folder, candidates, why=why, who=who, undo=undo)
    if json:
        print_json(decision.to_record())
        return
    words = f"{decision.kind.value}{' withdrawn' if undo else ''}: {', '.join(decision.candidates)}"
    out = console()
    out.print(f"{words} (by {decision.who}: {decision.why})", markup=False)
    out.print("[dim]counts from the driver's next step on; materia status says what became of it[/dim]")


def trace(
    folder: Folder, candidate: Annotated[str, typer.Argument(help="Id of a candidate.")], json: Json = False
) -> None:
    """Why a candidate was picked, what was known then, and what came of it."""
    from materia.campaign import trace as look

    found = look(folder, candidate)
    print_json(found) if json else _print_trace(found)


def _print_trace(found: dict[str, Any]) -> None:
    out, pick, why = console(), found["pick"], found["dossier"]
    out.print(found["candidate_id"], markup=False, style="bold")
    if pick is None:
        out.print("not picked")
    else:
        words = pick["reason"] if pick["state"] == "vetoed" else f"{pick['state']} {pick['reason']}".rstrip()
        hit = ", a hit" if found["hit"] else ""
        out.print(f"round {pick['round']}, pick {pick['slot']}: {words}{hit}", markup=False)
    for step in found["distortions"]:
        whose = "what follows is that of the child" if step["followed"] else "the parent was computed all the same"
        fell = f"{step['parent_prototype']} into {step['child_prototype']}, {1000 * step['energy']:.1f} meV/atom lower"
        out.print(f"distorted, by a potential: {fell}; {whose}", markup=False)
    for decided in found["overrides"]:
        note = f" ({decided['note']})" if decided["note"] else ""
        words = (
            f"{decided['kind']} by {decided['who']} at {decided['when']}: {decided['why']}; {decided['state']}{note}"
        )
        out.print(words, markup=False)
        if pick is None and decided["predictions"]:
            expected = [f"{q} {_number(b['mean'])} ± {_number(b['std'])}" for q, b in decided["predictions"].items()]
            chance = "" if decided["probability"] is None else f"; chance of a hit {_number(decided['probability'])}"
            out.print(f"  expected then: {', '.join(expected)}{chance}", markup=False)
    if why is None:
        if pick is not None:
            out.print("[dim]no dossier: picked by a version that kept none[/dim]")
        return
    who = f"pinned by {why['pin']['who']}" if why["pin"] else f"chosen by {why['chosen_by']}"
    out.print(f"{who}: number {why['rank']} of {why['free']} by {why['acquisition']}", markup=False)
    score = [[n, *_parts(p)] for n, p in why["score"]["parts"].items()] + [["total", *_parts(why["score"]["total"])]]
    _table("Score: factors multiply, logarithms add up", ["part", "factor", "log"], score)
    beliefs = [
        [
            name,
            _number(b["mean"]),
            _number(b["std"]),
            f"{_number(b['low'])} to {_number(b['high'])}",
            _number(b["chance"]),
            _number(found["found"].get(name, {}).get("value")),
        ]
        for name, b in why["predictions"].items()
    ]
    if beliefs:
        heads = ["quantity", "predicted", "std", "90 % interval", "chance wanted", "computed"]
        _table("Expected and found", heads, beliefs)
    if rivals := why.get("rivals"):
        from materia.report import told_mixture

        out.print(f"predicted distance to the hull: to {told_mixture(rivals)}", markup=False)
    near = [
        [n["id"], _number(n["distance"]), ", ".join(f"{q} {_number(v)}" for q, v in n["values"].items())]
        for n in why["neighbours"]
    ]
    if near:
        _table("Nearest labelled structures by the surrogate's embedding", ["structure", "distance", "labels"], near)
    if why["sustainability"]:
        columns = ("mass_fraction", "production", "reserves", "contribution")
        rows = [[p["element"], *(_number(p[k]) for k in columns)] for p in why["sustainability"]["parts"]]
        title = f"Supply risk {_number(why['sustainability']['supply_risk'])}"
        _table(title, ["element", "mass fraction", "HHI production", "HHI reserves", "adds"], rows)


def _parts(part: dict[str, Any]) -> tuple[str, str]:
    return _number(part["factor"]), "-inf" if part["log"] is None else _number(part["log"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    out = console()
    out.print(f"\n{title}", markup=False)
    out.print(table)
