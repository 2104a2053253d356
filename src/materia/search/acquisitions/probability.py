"""Probability of meeting every written condition."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from materia.search._gauss import Floats
from materia.search.acquisitions._base import Situation


class Probability:
    """Probability of a hit, times a preference for each goal that is not a condition.

    Choosing by the probability of a hit is the one-step optimal rule for the number of hits found (Garnett et
    al. 2012, active search). A goal (minimize or maximize) adds the probability of doing better than a
    candidate drawn at random from the eligible ones (both taken as Gaussian), which has no unit and no scale
    to set.

    Factors: ``p_QUANTITY`` for each quantity with conditions, ``prefer_QUANTITY`` for each goal.
    """

    adjusted = True

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        conditions, beliefs = situation.conditions, situation.beliefs
        factors = {f"p_{q}": column for q, column in conditions.log_probabilities(beliefs).items()}
        losses = conditions.expected_losses(beliefs)
        for objective in conditions.objectives:
            if objective.goal is not None:
                _, std = beliefs.column(objective.quantity)
                loss = losses[objective.quantity]
                among = loss[situation.eligible]
                spread = np.hypot(std, among.std())
                z = (among.mean() - loss) / np.where(spread > 0, spread, 1.0)
                factors[f"prefer_{objective.quantity}"] = np.asarray(log_ndtr(z), dtype=np.float64)
        return factors
