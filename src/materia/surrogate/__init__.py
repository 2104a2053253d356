"""The surrogate: crystal graphs, an E(3)-equivariant network, ensembles with calibrated uncertainty, model files.

Everything that needs torch loads on first use, so importing this room is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from materia.surrogate._settings import SurrogateSettings

if TYPE_CHECKING:
    from materia.surrogate._composition import composition_statistics
    from materia.surrogate._drift import Drift
    from materia.surrogate._elements import element_features, unsupported
    from materia.surrogate._ensemble import train
    from materia.surrogate._example import Example
    from materia.surrogate._files import read_card
    from materia.surrogate._folds import grouped_folds
    from materia.surrogate._graph import Batch, GraphStore
    from materia.surrogate._network import Network
    from materia.surrogate._predictions import Predictions
    from materia.surrogate._prior import Prior
    from materia.surrogate._pyg import from_pyg, pyg_loader, to_pyg
    from materia.surrogate._readout import above_bound, chance_above
    from materia.surrogate._regression import told_of
    from materia.surrogate._start import pretrained_card
    from materia.surrogate._strata import badly_covered
    from materia.surrogate._surrogate import Surrogate
    from materia.surrogate._trees import Trees, mixed, share_of_trees

_HOME = {
    "Batch": "_graph",
    "Drift": "_drift",
    "Example": "_example",
    "GraphStore": "_graph",
    "Network": "_network",
    "Predictions": "_predictions",
    "Prior": "_prior",
    "Surrogate": "_surrogate",
    "Trees": "_trees",
    "above_bound": "_readout",
    "badly_covered": "_strata",
    "chance_above": "_readout",
    "composition_statistics": "_composition",
    "element_features": "_elements",
    "from_pyg": "_pyg",
    "grouped_folds": "_folds",
    "mixed": "_trees",
    "pretrained_card": "_start",
    "pyg_loader": "_pyg",
    "read_card": "_files",
    "share_of_trees": "_trees",
    "to_pyg": "_pyg",
    "told_of": "_regression",
    "train": "_ensemble",
    "unsupported": "_elements",
}

__all__ = [
    "Batch",
    "Drift",
    "Example",
    "GraphStore",
    "Network",
    "Predictions",
    "Prior",
    "Surrogate",
    "SurrogateSettings",
    "Trees",
    "above_bound",
    "badly_covered",
    "chance_above",
    "composition_statistics",
    "element_features",
    "from_pyg",
    "grouped_folds",
    "mixed",
    "pretrained_card",
    "pyg_loader",
    "read_card",
    "share_of_trees",
    "to_pyg",
    "told_of",
    "train",
    "unsupported",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
