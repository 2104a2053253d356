"""The opponent that knows nothing."""

from __future__ import annotations

import numpy as np

from materia.search._gauss import Floats
from materia.search.acquisitions._base import Situation


class Random:
    """Uniform over the eligible candidates. Factor: ``draw``, uniform in (0, 1)."""

    adjusted = False

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        return {"draw": np.log(1.0 - situation.rng.random(situation.beliefs.n))}
