"""The typer application, and what happens to errors."""

from __future__ import annotations

import sys

import typer

from materia._version import __version__
from materia.cli import campaign, data, machine, people, references, replay, surrogate, tune
from materia.cli._output import NOT_YET, fail

app = typer.Typer(
    name="materia",
    help="Find semiconductors: screen with an equivariant network, compute what is worth it, keep the evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
campaign.register(app)
people.register(app)
machine.register(app)
surrogate.register(app)
tune.register(app)
replay.register(app)
references.register(app)
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"materia {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 an error a person can act on, 2 wrong usage, 75 not yet (the same
    command goes on later), 130 interrupted."""
    from materia.errors import CampaignLockedError, MateriaError

    try:
        app()
    except CampaignLockedError as error:
        fail(str(error))
        sys.exit(NOT_YET)
    except MateriaError as error:
        fail(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        fail("interrupted; the same command resumes")
        sys.exit(130)
