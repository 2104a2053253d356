"""Going on from the round before: a training that starts from the last model instead of from the beginning.

A network that has learned from most of the labels needs few epochs for the new ones. Two things can go wrong. Intervals
come out too narrow if a member learns from formulas it was to be judged by; so every formula stays in the fold it was
dealt to, and a member never sees those it leaves out, in any round. And networks trained on and on may end up worse
than new ones (J. T. Ash and R. P. Adams, NeurIPS 33, 3884 (2020)); so whenever the labels have grown by half, a new one
is trained beside it, and of the two the one that errs less on left-out formulas is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia.errors import ModelError
from materia.quantities import Form, Quantity
from materia.surrogate._settings import SurrogateSettings
from materia.surrogate._surrogate import Surrogate
from materia.surrogate._towers import plan_of

RENEWED = 1.5  # times the labels of the last training from the beginning: the next one is due
RATE = 0.5  # of the learning rate: what is known already is not to be stirred up


@dataclass(frozen=True)
class Earlier:
    """The model of the round before.

    Attributes:
        model: it.
        folds: formula -> the fold it was dealt to.
        since: labelled structures at the last training from the beginning.
    """

    model: Surrogate
    folds: Mapping[str, int]
    since: int

    @classmethod
    def usable(
        cls, folder: str | Path | None, quantities: Sequence[Quantity], settings: SurrogateSettings
    ) -> Earlier | None:
        """The model in ``folder``, where training can go on from it; None where it cannot or is not to: no epochs set
        aside for it, another architecture, other members, folds or targets, or a model that is not whole."""
        if folder is None or settings.warm_epochs is None:
            return None
        try:
            model = Surrogate.load(folder)
        except ModelError:
            return None
        kept = model.card.get("rounds", {})
        alike = (
            model.targets == tuple(q.name for q in quantities)
            and model.layout.forms == tuple(q.form for q in quantities)
            and len(model.members) == settings.members
            and model.card["architecture"] == settings.architecture()
            and plan_of(model.targets, model.card.get("towers")) == plan_of(model.targets, settings.towers)
            and "folds" in kept
            and kept["of"] == fold_count(settings)
            # or a member would be judged by what it has learned from
            and model.card["settings"]["left_out_by"] == settings.left_out_by
            and len(set(kept["folds"].values())) > settings.left_out_by
        )
        return cls(model, kept["folds"], int(kept["since"])) if alike else None

    def due(self, labelled: int) -> bool:
        """Whether a training from the beginning is due at that many labelled structures."""
        return labelled >= RENEWED * self.since


def fold_count(settings: SurrogateSettings) -> int:
    """Folds of the formulas: as many as members where the settings do not say."""
    return max(2, settings.folds or settings.members, settings.members)


def going_on(settings: SurrogateSettings) -> SurrogateSettings:
    """The settings of a training that goes on from the round before."""
    assert settings.warm_epochs is not None
    changed = {"epochs": settings.warm_epochs, "learning_rate": RATE * settings.learning_rate, "trunk_rate": 1.0}
    return settings.model_copy(update=changed)


def relative_error(one: Mapping[str, Any], other: Mapping[str, Any], quantities: Sequence[Quantity]) -> float:
    """Geometric mean over the quantities of one card's validation error over another's: below 1 where it errs less.

    The error is the mean absolute one, of a class the Brier score; quantities without are left out, 1 if all are.
    """
    logs = []
    for target in quantities:
        key = "brier" if target.form is Form.CLASS else "mae"
        a, b = (card["validation"][target.name].get(key) for card in (one, other))
        if a and b:
            logs.append(math.log(a / b))
    return math.exp(sum(logs) / len(logs)) if logs else 1.0
