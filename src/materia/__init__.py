"""materia: an AI-driven discovery engine for semiconductor materials.

Whatever the command line does is one call here under the same name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from materia._version import __version__

if TYPE_CHECKING:
    from materia.campaign import (
        approve,
        build_dataset,
        compute_references,
        doctor,
        pin,
        plan,
        predict,
        replay,
        run,
        screen,
        step,
        submit,
        trace,
        train,
        train_on_site,
        veto,
        write_report,
    )
    from materia.crystal import Crystal
    from materia.data import Dataset
    from materia.record import load_campaign


_HOME = {
    "Crystal": "materia.crystal",
    "Dataset": "materia.data",
    "approve": "materia.campaign",
    "build_dataset": "materia.campaign",
    "compute_references": "materia.campaign",
    "doctor": "materia.campaign",
    "load_campaign": "materia.record",
    "pin": "materia.campaign",
    "plan": "materia.campaign",
    "predict": "materia.campaign",
    "replay": "materia.campaign",
    "run": "materia.campaign",
    "screen": "materia.campaign",
    "step": "materia.campaign",
    "submit": "materia.campaign",
    "trace": "materia.campaign",
    "train": "materia.campaign",
    "train_on_site": "materia.campaign",
    "veto": "materia.campaign",
    "write_report": "materia.campaign",
}

__all__ = [
    "Crystal",
    "Dataset",
    "__version__",
    "approve",
    "build_dataset",
    "compute_references",
    "doctor",
    "load_campaign",
    "pin",
    "plan",
    "predict",
    "replay",
    "run",
    "screen",
    "step",
    "submit",
    "trace",
    "train",
    "train_on_site",
    "veto",
    "write_report",
]


def __getattr__(name: str) -> Any:  # nothing heavy loads before it is used
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
