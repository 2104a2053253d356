"""Replay on known data: what a strategy would have found, and at what cost, had the answers been hidden."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from materia.search.replay._measures import summarise
    from materia.search.replay._pool import KnownPool
    from materia.search.replay._run import play_all
    from materia.search.replay._settings import (
        DataSettings,
        FailureSettings,
        ReplaySettings,
        StrategySettings,
        load_replay,
    )
    from materia.search.replay._staged import StagedRun, Stages, play_by_gain, play_ladder
    from materia.search.replay._stopping import bounds, stopping
    from materia.search.replay._trajectory import Trajectory, play
    from materia.search.replay.learner import Learned, Learner

_HOME = {
    "DataSettings": "_settings",
    "FailureSettings": "_settings",
    "KnownPool": "_pool",
    "Learned": "learner",
    "Learner": "learner",
    "ReplaySettings": "_settings",
    "StagedRun": "_staged",
    "Stages": "_staged",
    "StrategySettings": "_settings",
    "Trajectory": "_trajectory",
    "bounds": "_stopping",
    "load_replay": "_settings",
    "play": "_trajectory",
    "play_all": "_run",
    "play_by_gain": "_staged",
    "play_ladder": "_staged",
    "stopping": "_stopping",
    "summarise": "_measures",
}

__all__ = [
    "DataSettings",
    "FailureSettings",
    "KnownPool",
    "Learned",
    "Learner",
    "ReplaySettings",
    "StagedRun",
    "Stages",
    "StrategySettings",
    "Trajectory",
    "bounds",
    "load_replay",
    "play",
    "play_all",
    "play_by_gain",
    "play_ladder",
    "stopping",
    "summarise",
]


def __getattr__(name: str) -> Any:  # scikit-learn and pymatgen load when used
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
