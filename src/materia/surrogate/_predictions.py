"""What the surrogate says about a list of structures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from materia.errors import ModelError
from materia.surrogate._calibration import Z90


@dataclass(frozen=True)
class Predictions:
    """Predictions for n structures and t quantities.

    Attributes:
        targets: names of the quantities.
        mean: (n, t) in their units, clamped to physical bounds.
        std: (n, t) calibrated standard deviation: mean ± 1.645 std holds about 90 % of unseen formulas.
        embedding: (n, d) latent vectors, one block per member.
        in_domain: (n,) False where a structure is unlike everything the model has learned from.
        bounds: (t) physical lower bounds, None where there is none; empty where they are not known.
    """

    targets: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    embedding: NDArray[np.float32]
    in_domain: NDArray[np.bool_]
    bounds: tuple[float | None, ...] = ()

    def __len__(self) -> int:
        return len(self.mean)

    def column(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(mean, std) of one quantity, each (n,).

        Raises:
            ModelError: the model does not predict it.
        """
        if name not in self.targets:
            raise ModelError(f"the model does not predict {name!r}", remedy=f"it predicts: {', '.join(self.targets)}")
        j = self.targets.index(name)
        return self.mean[:, j], self.std[:, j]

    def interval(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(lower, upper) ends of one quantity's 90 % interval, each (n,), not below its physical bound.

        Raises:
            ModelError: the model does not predict it.
        """
        mean, std = self.column(name)
        lower, upper = mean - Z90 * std, mean + Z90 * std
        bound = self.bounds[self.targets.index(name)] if self.bounds else None
        return (lower if bound is None else np.maximum(lower, bound)), upper
