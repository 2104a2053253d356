"""Calibrated standard deviations by conformal prediction on out-of-fold residuals.

Each member predicts the fold of formulas it has not seen. A local error scale is fitted to the absolute
residuals of those predictions; the quantile of residual over scale then sets the width (Vovk's
cross-conformal prediction; the scale only makes it sharper, the quantile makes it cover).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

COVERAGE = 0.9
Z90 = 1.6448536269514722  # a normal distribution has 90 % within this many standard deviations
MIN_RESIDUALS = 8  # fewer say too little: then the labels' own spread is quoted

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Standard deviation of one quantity's error, as a function of what is known at prediction time.

    ``std = factor * max(floor, constant + distance * d + spread * s + height * h)``

    Attributes:
        constant, distance, spread, height: non-negative coefficients; d is the latent distance to the training
            data, s the spread of the bootstrapped heads, h the prediction's height above the physical bound
            (0 for quantities without one).
        floor: least scale.
        factor: conformal width over 1.645.
        n: residuals it was fitted on.
    """

    constant: float
    distance: float
    spread: float
    height: float
    floor: float
    factor: float
    n: int

    @classmethod
    def fit(cls, residuals: Array, features: Array, fallback: float) -> Calibration:
        """Fit to out-of-fold residuals (n,) with features (n, 3): d, s, h.

        Args:
            fallback: standard deviation to quote when there are too few residuals (the labels' spread).
        """
        from scipy.optimize import nnls

        n = len(residuals)
        if n < MIN_RESIDUALS:
            return cls(max(fallback, 1e-9), 0.0, 0.0, 0.0, 0.0, 1.0, n)
        size = np.abs(residuals)
        typical = float(size.mean()) + 1e-12
        target = np.minimum(size, np.quantile(size, 0.95))  # a few large errors must not set the shape
        unit = features.mean(0) + 1e-12
        design = np.column_stack([np.ones(n), features / unit])
        ridge = math.sqrt(n) * 0.1 * np.eye(4)  # shrinks all coefficients alike: no feature wins by chance
        coefficients, _ = nnls(np.vstack([design, ridge]), np.concatenate([target, np.zeros(4)]))
        slopes = coefficients[1:] / unit
        draft = cls(float(coefficients[0]), float(slopes[0]), float(slopes[1]), float(slopes[2]), 0.1 * typical, 1.0, n)
        return replace(draft, factor=conformal_quantile(size / draft.std(features)) / Z90)

    def std(self, features: Array) -> Array:
        """(n,) standard deviation for features (n, 3)."""
        slopes = np.array([self.distance, self.spread, self.height])
        scale: Array = self.constant + features @ slopes
        return self.factor * np.maximum(self.floor, scale)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def conformal_quantile(scores: Array, coverage: float = COVERAGE) -> float:
    """The smallest bound that holds ``coverage`` of exchangeable scores, with the finite-sample correction.

    With too few scores to say, the largest of them times 1.5.
    """
    n = len(scores)
    rank = math.ceil((n + 1) * coverage)
    if rank > n:
        return 1.5 * float(scores.max())
    return float(np.sort(scores)[rank - 1])


def cross_coverage(residuals: Array, features: Array, folds: NDArray[np.int64], fallback: float) -> float:
    """Share of residuals inside the 90 % interval when each fold is calibrated on the others.

    NaN with fewer residuals than a calibration needs.
    """
    if len(residuals) < 2 * MIN_RESIDUALS or len(set(folds.tolist())) < 2:
        return math.nan
    inside = np.zeros(len(residuals), dtype=bool)
    for k in set(folds.tolist()):
        rest, here = folds != k, folds == k
        std = Calibration.fit(residuals[rest], features[rest], fallback).std(features[here])
        inside[here] = np.abs(residuals[here]) <= Z90 * std
    return float(inside.mean())
