"""The command line: ``materia ...``. Thin: every verb is one call of the public API."""

from materia.cli._app import main

__all__ = ["main"]
