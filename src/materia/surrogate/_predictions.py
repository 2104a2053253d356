"""What the surrogate says about a list of structures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from materia.errors import ModelError
from materia.quantities import Form
from materia.surrogate._calibration import Z90


@dataclass(frozen=True)
class Predictions:
    """Predictions for n structures and t quantities.

    Attributes:
        targets: names of the quantities.
        mean: (n, t) in their units, clamped to physical bounds; of a class the probability of yes, of a tensor the
            mean of its eigenvalues.
        std: (n, t) calibrated standard deviation in the unit: mean ± 1.645 std holds about 90 % of unseen formulas. For
            logarithms and tensors, whose interval is not symmetric, half its width over 1.645: the normal distribution
            of the same width, which is what a search takes it for. Of a class that of the answer, sqrt(p (1 - p)).
        embedding: (n, d) latent vectors, one block per member.
        in_domain: (n,) False where a structure is unlike everything the model has learned from.
        bounds: (t) physical lower bounds, None where there is none; empty where they are not known.
        forms: (t) of the quantities; empty where all are scalars.
        ends: of logarithms and tensors the ends of the 90 % interval, each (n,), computed in decades.
        tensors: of tensors (n, 3, 3), symmetric positive definite, in the frame of each structure's lattice vectors.
        hurdles: of quantities that many labels have at their physical bound, as metals their gap: the probability (n,)
            to lie above it, and mean and standard deviation (n,) in the unit if it does. ``mean`` and ``std`` know
            nothing of them.
    """

    targets: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    embedding: NDArray[np.float32]
    in_domain: NDArray[np.bool_]
    bounds: tuple[float | None, ...] = ()
    forms: tuple[Form, ...] = ()
    ends: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)
    tensors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    hurdles: Mapping[str, tuple[NDArray[np.float64], ...]] = field(default_factory=dict)

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

    def form(self, name: str) -> Form:
        """What one quantity's values are."""
        return self.forms[self.targets.index(name)] if self.forms else Form.SCALAR

    def interval(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(lower, upper) ends of one quantity's 90 % interval, each (n,), not below its physical bound.

        Raises:
            ModelError: the model does not predict it, or it is a class: a probability has no interval.
        """
        mean, std = self.column(name)
        if self.form(name) is Form.CLASS:
            raise ModelError(f"{name} is a class: a probability has no interval", remedy="use column()")
        if name in self.ends:
            return self.ends[name]
        lower, upper = mean - Z90 * std, mean + Z90 * std
        bound = self.bounds[self.targets.index(name)] if self.bounds else None
        return (lower if bound is None else np.maximum(lower, bound)), upper
