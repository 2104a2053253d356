"""The campaign: the loop that turns the circle, and the long work that spans rooms."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from materia.campaign._compute_references import ComputedReferences, compute_references
    from materia.campaign._dataset import build_dataset
    from materia.campaign._decide import approve, pin, veto
    from materia.campaign._doctor import doctor
    from materia.campaign._gaussian_process import GaussianProcess
    from materia.campaign._import import Imported, import_calculations
    from materia.campaign._informed_forest import InformedForest
    from materia.campaign._loop import Driver, Phase, Step, run, step
    from materia.campaign._plan import plan, require_worth
    from materia.campaign._predict import predict
    from materia.campaign._replay import replay
    from materia.campaign._report import write_report
    from materia.campaign._request import make_settings, read_quantities
    from materia.campaign._screen import Screened, screen
    from materia.campaign._settings import CampaignSettings, find_campaign_file, load_settings
    from materia.campaign._submit import Submitted, submit
    from materia.campaign._trace import trace
    from materia.campaign._train import Trained, leads_here, train
    from materia.campaign._train_job import SiteJob
    from materia.campaign._train_site import SubmittedTraining, train_on_site
    from materia.campaign._tune import Tuned, tune
    from materia.campaign._tune_study import Trial
    from materia.compute import Finding

_HOME = {
    "CampaignSettings": "_settings",
    "ComputedReferences": "_compute_references",
    "Driver": "_loop",
    "Finding": "_doctor",
    "GaussianProcess": "_gaussian_process",
    "Imported": "_import",
    "InformedForest": "_informed_forest",
    "Phase": "_loop",
    "Screened": "_screen",
    "SiteJob": "_train_job",
    "Step": "_loop",
    "Submitted": "_submit",
    "SubmittedTraining": "_train_site",
    "Trained": "_train",
    "Trial": "_tune_study",
    "Tuned": "_tune",
    "approve": "_decide",
    "build_dataset": "_dataset",
    "compute_references": "_compute_references",
    "doctor": "_doctor",
    "find_campaign_file": "_settings",
    "import_calculations": "_import",
    "leads_here": "_train",
    "load_settings": "_settings",
    "make_settings": "_request",
    "pin": "_decide",
    "plan": "_plan",
    "predict": "_predict",
    "read_quantities": "_request",
    "replay": "_replay",
    "require_worth": "_plan",
    "run": "_loop",
    "screen": "_screen",
    "step": "_loop",
    "submit": "_submit",
    "trace": "_trace",
    "train": "_train",
    "train_on_site": "_train_site",
    "tune": "_tune",
    "veto": "_decide",
    "write_report": "_report",
}

__all__ = [
    "CampaignSettings",
    "ComputedReferences",
    "Driver",
    "Finding",
    "GaussianProcess",
    "Imported",
    "InformedForest",
    "Phase",
    "Screened",
    "SiteJob",
    "Step",
    "Submitted",
    "SubmittedTraining",
    "Trained",
    "Trial",
    "Tuned",
    "approve",
    "build_dataset",
    "compute_references",
    "doctor",
    "find_campaign_file",
    "import_calculations",
    "leads_here",
    "load_settings",
    "make_settings",
    "pin",
    "plan",
    "predict",
    "read_quantities",
    "replay",
    "require_worth",
    "run",
    "screen",
    "step",
    "submit",
    "trace",
    "train",
    "train_on_site",
    "tune",
    "veto",
    "write_report",
]


def __getattr__(name: str) -> Any:  # the rooms behind these are heavy: they load when used
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
