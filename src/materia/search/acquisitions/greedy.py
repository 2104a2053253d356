"""The opponent that trusts every prediction."""

from __future__ import annotations

import numpy as np

from materia.search._beliefs import Beliefs
from materia.search._gauss import Floats
from materia.search.acquisitions._base import Situation


class Greedy:
    """Best predicted mean, uncertainty ignored, batch by rank.

    Factor: ``nearness``, exp(-(total loss + distance to the conditions)) of the predicted means.
    """

    adjusted = False

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        means = {q: situation.beliefs.column(q)[0] for q in situation.conditions.quantities}
        certain = Beliefs({q: (mean, np.zeros_like(mean)) for q, mean in means.items()})
        return {"nearness": -situation.conditions.expected_miss(certain)}
