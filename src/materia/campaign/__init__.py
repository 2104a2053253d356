"""The campaign: the loop that turns the circle, and the long work that spans rooms."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from materia.campaign._dataset import build_dataset
    from materia.campaign._doctor import Finding, doctor
    from materia.campaign._loop import Driver, Phase, Step, run, step
    from materia.campaign._plan import plan, require_worth
    from materia.campaign._predict import predict
    from materia.campaign._replay import replay
    from materia.campaign._report import write_report
    from materia.campaign._settings import CampaignSettings, find_campaign_file, load_settings

_HOME = {
    "CampaignSettings": "_settings",
    "Driver": "_loop",
    "Finding": "_doctor",
    "Phase": "_loop",
    "Step": "_loop",
    "build_dataset": "_dataset",
    "doctor": "_doctor",
    "find_campaign_file": "_settings",
    "load_settings": "_settings",
    "plan": "_plan",
    "predict": "_predict",
    "replay": "_replay",
    "require_worth": "_plan",
    "run": "_loop",
    "step": "_loop",
    "write_report": "_report",
}

__all__ = [
    "CampaignSettings",
    "Driver",
    "Finding",
    "Phase",
    "Step",
    "build_dataset",
    "doctor",
    "find_campaign_file",
    "load_settings",
    "plan",
    "predict",
    "replay",
    "require_worth",
    "run",
    "step",
    "write_report",
]


def __getattr__(name: str) -> Any:  # the rooms behind these are heavy: they load when used
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
