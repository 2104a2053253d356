"""All runs of a replay: over processes, each kept on disk as soon as it is done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from materia import files
from materia.search._conditions import Conditions
from materia.search.replay._pool import KnownPool
from materia.search.replay._settings import ReplaySettings, StrategySettings
from materia.search.replay._trajectory import Trajectory, play

FORMAT = 1  # raise it when a change makes runs differ: kept ones are then made anew
OF_LEARNERS = {"gaussian_process": 3}  # the same, where runs of one learner differ

Report = Callable[[int, int], None]
Todo = tuple[StrategySettings, int]


def play_all(
    pool: KnownPool,
    settings: ReplaySettings,
    *,
    cache: str | Path,
    jobs: int | None = None,
    report: Report | None = None,
) -> list[Trajectory]:
    """Every strategy with every seed, those kept from before included.

    Args:
        cache: folder of finished runs, one file each; a replay that was cut off goes on from there.
        jobs: processes; by default one for each core this process may use.
        report: called with the runs done and the runs in all.

    Returns:
        In order of strategies, then seeds.

    Raises:
        StorageError: the cache cannot be written.
    """
    folder = Path(cache)
    todo = settings.runs
    places = {(s.name, seed): folder / f"{run_key(pool, settings, s, seed)}.json" for s, seed in todo}
    found: dict[tuple[str, int], Trajectory] = {}
    for (name, seed), path in places.items():
        if (kept := _read(path)) is not None:
            found[name, seed] = replace(kept, strategy=name, seed=seed)

    def done(run: Trajectory) -> None:
        text = json.dumps(run.to_json(), separators=(",", ":"))
        files.write_whole(places[run.strategy, run.seed], text, "a finished run cannot be kept")
        found[run.strategy, run.seed] = run
        if report is not None:
            report(len(found), len(todo))

    left = [(s, seed) for s, seed in todo if (s.name, seed) not in found]
    if report is not None:
        report(len(found), len(todo))
    workers = min(jobs or len(os.sched_getaffinity(0)), len(left))
    if workers <= 1:
        for strategy, seed in left:
            done(play(pool, settings, strategy, seed))
    else:
        _over_processes(pool, settings, left, workers, done)
    return [found[s.name, seed] for s, seed in todo]


def run_key(pool: KnownPool, settings: ReplaySettings, strategy: StrategySettings, seed: int) -> str:
    """Hash of everything a run depends on but the versions of the libraries."""
    about = {
        "format": FORMAT,
        "pool": pool.digest,
        "goal": settings.model_dump(mode="json", include={"objectives", "constraints", "start", "batch", "most"}),
        "end": settings.end,
        "strategy": _essence(strategy, settings, pool),
        "seed": seed,
    }
    if strategy.learner in OF_LEARNERS:
        about["learner"] = OF_LEARNERS[strategy.learner]
    if settings.failures is not None:
        about["failures"] = settings.failures.model_dump(mode="json")
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]


def _essence(strategy: StrategySettings, settings: ReplaySettings, pool: KnownPool) -> dict[str, Any]:
    """What of a strategy a run depends on. Runs kept by versions that knew no stop rules, no failures or no expected
    hull stay valid where there are none."""
    left_out = {"plan"} if settings.failures is not None else {"plan", "failures"}
    if strategy.search.hull == "known" or not pool.predicts_hull(Conditions(settings.objectives, settings.constraints)):
        left_out |= {"hull"}
    essence = strategy.model_dump(mode="json", exclude={"name": True, "seeds": True, "search": left_out})
    if strategy.search.stop is None:
        del essence["search"]["stop"]
    return essence


def _over_processes(
    pool: KnownPool, settings: ReplaySettings, left: list[Todo], workers: int, done: Callable[[Trajectory], None]
) -> None:
    executor = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(pool, settings)
    )
    try:
        for future in as_completed([executor.submit(_play, strategy, seed) for strategy, seed in left]):
            done(future.result())
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


_GIVEN: list[tuple[KnownPool, ReplaySettings]] = []  # of a worker process


def _begin(pool: KnownPool, settings: ReplaySettings) -> None:
    _GIVEN.append((pool, settings))


def _play(strategy: StrategySettings, seed: int) -> Trajectory:
    return play(*_GIVEN[0], strategy, seed)


def _read(path: Path) -> Trajectory | None:
    try:
        return Trajectory.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # damaged: made anew
        return None
