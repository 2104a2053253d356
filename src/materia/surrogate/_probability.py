"""Probabilities of yes-or-no labels, calibrated on out-of-fold logits, and how good they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_EACH = 4  # labels of either answer; with fewer the logits stand as they are
BINS = 10  # of the expected calibration error

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ProbabilityCalibration:
    """Platt's scaling: the logit of the calibrated probability is ``slope * logit + intercept``.

    J. Platt, in Advances in Large Margin Classifiers, MIT Press (1999), with his smoothed targets.

    Attributes:
        slope: not negative; 0 where the logits say nothing.
        intercept: of the calibrated logit.
        n: out-of-fold labels it was fitted on.
    """

    slope: float
    intercept: float
    n: int

    @classmethod
    def fit(cls, logits: Array, labels: Array) -> ProbabilityCalibration:
        """Fit to out-of-fold logits (n,) and labels (n,), each 0 or 1."""
        from scipy.optimize import minimize

        n, yes = len(labels), float(labels.sum())
        if min(yes, n - yes) < MIN_EACH:
            return cls(1.0, 0.0, n)
        target = np.where(labels > 0.5, (yes + 1) / (yes + 2), 1 / (n - yes + 2))

        def loss(parameters: Array) -> tuple[float, Array]:
            z = parameters[0] * logits + parameters[1]
            value = float((np.logaddexp(0, z) - target * z).sum())
            error = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - target
            return value, np.array([(error * logits).sum(), error.sum()])

        found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)])
        return cls(float(found.x[0]), float(found.x[1]), n)

    def logit(self, logits: Array) -> Array:
        """(n,) calibrated logits."""
        calibrated: Array = self.slope * logits + self.intercept
        return calibrated

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def cross_logits(logits: Array, labels: Array, folds: NDArray[np.int64]) -> Array:
    """Calibrated logits (n,) of each fold by a calibration fitted on the others."""
    calibrated = np.array(logits)
    for k in set(folds.tolist()):
        here = folds == k
        calibrated[here] = ProbabilityCalibration.fit(logits[~here], labels[~here]).logit(logits[here])
    return calibrated


def balanced_accuracy(probability: Array, labels: Array) -> float:
    """Mean of the shares of either answer that are called right at one half; NaN where one is missing."""
    yes = labels > 0.5
    if yes.all() or not yes.any():
        return float("nan")
    called = probability >= 0.5
    return float((called[yes].mean() + (~called[~yes]).mean()) / 2)


def calibration_error(probability: Array, labels: Array) -> float:
    """Expected calibration error: the mean over ten bins of |mean probability - share of yes|, by their sizes."""
    if len(labels) == 0:
        return float("nan")
    home = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = [abs(float((probability[home == b] - labels[home == b]).sum())) for b in range(BINS)]
    return sum(gaps) / len(labels)
