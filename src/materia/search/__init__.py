"""What to compute next: objectives, acquisitions, and an Optuna study over a finite pool."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from materia.search._beliefs import Beliefs, Hurdle
    from materia.search._conditions import Conditions, Verdict
    from materia.search._decider import Decider, Decision
    from materia.search._features import cell_features, composition_features
    from materia.search._gap_map import DearGaps, GapMap
    from materia.search._rank import Entry, Ranked, rank
    from materia.search._remaining import Effort, Remaining, remaining
    from materia.search._sampler import PoolSampler, reserving_ask
    from materia.search._scenarios import scenarios
    from materia.search._settings import Constraint, Objective, SearchSettings, StopSettings
    from materia.search._spin_orbit import spin_orbit_closing
    from materia.search._stages import gain_of_both, gain_of_dear
    from materia.search._stop import enough, finished
    from materia.search._success import chance_of_success
    from materia.search._view import PoolView

_HOME = {
    "Beliefs": "_beliefs",
    "Conditions": "_conditions",
    "Constraint": "_settings",
    "DearGaps": "_gap_map",
    "Decider": "_decider",
    "Decision": "_decider",
    "Effort": "_remaining",
    "Entry": "_rank",
    "GapMap": "_gap_map",
    "Hurdle": "_beliefs",
    "Objective": "_settings",
    "PoolSampler": "_sampler",
    "PoolView": "_view",
    "Ranked": "_rank",
    "Remaining": "_remaining",
    "SearchSettings": "_settings",
    "StopSettings": "_settings",
    "Verdict": "_conditions",
    "cell_features": "_features",
    "chance_of_success": "_success",
    "composition_features": "_features",
    "enough": "_stop",
    "finished": "_stop",
    "gain_of_both": "_stages",
    "gain_of_dear": "_stages",
    "rank": "_rank",
    "remaining": "_remaining",
    "reserving_ask": "_sampler",
    "scenarios": "_scenarios",
    "spin_orbit_closing": "_spin_orbit",
}

__all__ = [
    "Beliefs",
    "Conditions",
    "Constraint",
    "DearGaps",
    "Decider",
    "Decision",
    "Effort",
    "Entry",
    "GapMap",
    "Hurdle",
    "Objective",
    "PoolSampler",
    "PoolView",
    "Ranked",
    "Remaining",
    "SearchSettings",
    "StopSettings",
    "Verdict",
    "cell_features",
    "chance_of_success",
    "composition_features",
    "enough",
    "finished",
    "gain_of_both",
    "gain_of_dear",
    "rank",
    "remaining",
    "reserving_ask",
    "scenarios",
    "spin_orbit_closing",
]


def __getattr__(name: str) -> Any:  # Optuna and SciPy load when used
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
