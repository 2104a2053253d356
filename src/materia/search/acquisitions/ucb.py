"""Confidence bound: every value as good as it could reasonably be."""

from __future__ import annotations

import math

import numpy as np

from materia.search._beliefs import Beliefs
from materia.search._gauss import Floats
from materia.search.acquisitions._base import Situation

BETA = 1.0  # standard deviations of optimism


class Ucb:
    """Best value within one standard deviation of the mean, quantity by quantity.

    Among values in mean ± β·std the one nearest to the conditions and of the smallest loss counts (an upper
    confidence bound, turned to losses; Srinivas et al. 2010). Candidates whose whole wish lies in reach are
    equal and told apart by the expected loss.

    Factor: ``nearness``, exp(-(total loss + distance to the conditions)) of those values.
    """

    adjusted = True

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        conditions, beliefs = situation.conditions, situation.beliefs
        wish: dict[str, float] = {}
        for name, (low, high) in conditions.intervals.items():
            wish[name] = low if math.isinf(high) else high if math.isinf(low) else (low + high) / 2
        for objective in conditions.objectives:
            if objective.goal is not None:
                wish[objective.quantity] = -math.inf if objective.goal == "minimize" else math.inf
        best: dict[str, tuple[Floats, Floats]] = {}
        for name in conditions.quantities:
            mean, std = beliefs.column(name)
            best[name] = (np.clip(wish[name], mean - BETA * std, mean + BETA * std), np.zeros_like(mean))
        return {"nearness": -conditions.expected_miss(Beliefs(best))}
