"""Looking a job up by its key before anything runs: what was computed anywhere is not computed again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from materia.compute._attempt import read_result
from materia.record import Outcome

Store = Path | Callable[[str], Outcome | None]
"""A campaign or jobs folder, or a function from key to outcome."""


def look_up(key: str, stores: Iterable[Store]) -> Outcome | None:
    """The first outcome a store knows for this key, if it is final anywhere: a result or a deterministic failure."""
    for store in stores:
        outcome = _in_folder(key, store) if isinstance(store, Path) else store(key)
        if outcome is not None and outcome.key == key and (outcome.ok or not outcome.retryable):
            return outcome
    return None


def _in_folder(key: str, folder: Path) -> Outcome | None:
    """Newest valid result in ``folder/jobs/KEY/ATTEMPT`` or ``folder/KEY/ATTEMPT``."""
    for base in (folder / "jobs" / key, folder / key):
        numbers = sorted((int(p.name) for p in base.glob("[0-9]*") if p.name.isdigit()), reverse=True)
        for number in numbers:
            path = base / str(number)
            outcome = read_result(path, key, number, put_aside=False)
            if outcome is not None and (outcome.ok or not outcome.retryable):
                return dataclasses.replace(outcome, folder=str(path))
    return None
