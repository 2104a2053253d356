"""Replay from a file to figures and a page: the work that spans rooms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from materia import files
from materia.report import write_replay
from materia.search import Conditions
from materia.search.replay import KnownPool, ReplaySettings, load_replay, play_all, summarise


def replay(
    config: str | Path | ReplaySettings,
    folder: str | Path | None = None,
    *,
    jobs: int | None = None,
    on_run: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run the strategies of a replay file on data with known answers.

    Every finished run is kept in the folder; a replay that was cut off, or is given further strategies or seeds,
    goes on from there.

    Args:
        config: replay file, or its settings.
        folder: for runs, ``result.json`` and ``index.html``; default ``replays/NAME``.
        jobs: processes; by default one for each core.
        on_run: called with the runs done and the runs in all.

    Returns:
        The figures, as :func:`materia.search.replay.summarise` describes them, with ``folder`` and ``page``.

    Raises:
        ConfigError, DatasetError: the file or the data cannot be used.
        StorageError: the folder cannot be written.
    """
    settings = config if isinstance(config, ReplaySettings) else load_replay(config)
    where = Path(folder) if folder is not None else Path("replays") / settings.name
    pool = KnownPool.load(settings.data, Conditions(settings.objectives, settings.constraints))
    runs = play_all(pool, settings, cache=where / "runs", jobs=jobs, report=on_run)
    result = summarise(pool, settings, runs)
    files.write_whole(where / "result.json", json.dumps(result, indent=1) + "\n", "the result cannot be written")
    page = write_replay(result, where / "index.html")
    return {**result, "folder": str(where), "page": str(page)}
