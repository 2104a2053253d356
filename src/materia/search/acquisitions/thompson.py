"""Thompson sampling: choose the best of one possible world."""

from __future__ import annotations

import numpy as np

from materia.search._beliefs import Beliefs
from materia.search._gauss import Floats
from materia.search.acquisitions._base import Situation


class Thompson:
    """Best candidate of one world drawn from the beliefs, independently per candidate and quantity.

    Factor: ``nearness``, exp(-(total loss + distance to the conditions)) of the drawn values.
    """

    adjusted = True

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        drawn: dict[str, tuple[Floats, Floats]] = {}
        for name in situation.conditions.quantities:
            mean, std = situation.beliefs.column(name)
            drawn[name] = (mean + std * situation.rng.standard_normal(len(mean)), np.zeros_like(mean))
        return {"nearness": -situation.conditions.expected_miss(Beliefs(drawn))}
