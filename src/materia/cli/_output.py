"""What the verbs print: JSON for scripts, tables for people, errors on standard error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


NOT_YET = 75  # exit code (EX_TEMPFAIL): nothing is wrong, the same command goes on later
PLAIN_WIDTH = 120  # of tables in files and pipes, where there is no terminal to fit


def console() -> Console:
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def fail(message: str) -> None:
    typer.secho("error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(message, err=True)
