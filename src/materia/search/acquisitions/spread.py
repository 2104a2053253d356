"""Where the surrogate knows least among what could still be a hit."""

from __future__ import annotations

import numpy as np

from materia.search._gauss import Floats
from materia.search.acquisitions._base import Situation


class Spread:
    """Predicted uncertainty, held to candidates that are plausible and that meet the exact conditions.

    Factors: ``spread``, the root mean square of each uncertain quantity's std over its median among the
    eligible; ``plausible``, the square root of the probability of meeting the conditions.
    """

    adjusted = True

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        conditions, beliefs = situation.conditions, situation.beliefs
        squares: list[Floats] = []
        for name in conditions.quantities:
            _, std = beliefs.column(name)
            typical = float(np.median(std[situation.eligible]))
            if typical > 0:
                squares.append((std / typical) ** 2)
        log_p = conditions.log_probability(beliefs)
        with np.errstate(divide="ignore"):
            spread = 0.5 * np.log(np.mean(squares, axis=0)) if squares else np.zeros(beliefs.n)
        return {"spread": spread, "plausible": 0.5 * log_p}
