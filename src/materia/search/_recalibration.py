"""What predicted chances of a hit are worth, told by the picks they led to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from materia.search._gauss import Floats

MEMORY = 0.8  # what a round's picks count a round later: every round has another model, and picks further down its list
OFFSET_STD, SLOPE_STD = 1.0, 0.5  # of the prior, around predictions that hold what they promise
_LEAST = 1e-6  # chances below are not told apart, and corrected by the same factor

Picks = Sequence[tuple[float, bool]]
"""(predicted chance, whether it was a hit) of the picks of one round."""


@dataclass(frozen=True)
class Recalibration:
    """Log odds of a hit as a line over the predicted log odds, with what is not known of it.

    Attributes:
        offset, slope: most probable line; 0 and 1 are predictions that hold what they promise, a slope below 1 ones
            that are too sure of themselves.
        covariance: (2, 2), of both.
    """

    offset: float
    slope: float
    covariance: Floats

    @classmethod
    def of(cls, rounds: Sequence[Picks]) -> Recalibration:
        """From all picks so far, oldest round first.

        Logistic recalibration (Cox, Biometrika 45 (1958) 562; Platt 1999) with a Gaussian prior on the line and
        Laplace's approximation of the posterior. Older rounds count less by a constant factor a round.
        """
        weights = [MEMORY ** (len(rounds) - 1 - k) for k, picks in enumerate(rounds) for _ in picks]
        told = [pick for picks in rounds for pick in picks]
        x = _log_odds(np.array([chance for chance, _ in told], dtype=np.float64))
        y, w = np.array([float(hit) for _, hit in told]), np.array(weights)
        design = np.stack([np.ones_like(x), x], axis=1)
        prior, centre = np.diag([OFFSET_STD**-2, SLOPE_STD**-2]), np.array([0.0, 1.0])
        line = centre.copy()
        for _ in range(50):  # Newton's method on a concave function, in bounded steps
            p = expit(design @ line)
            curvature = (design * (w * p * (1 - p))[:, None]).T @ design + prior
            step = np.linalg.solve(curvature, design.T @ (w * (y - p)) - prior @ (line - centre))
            line = line + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-300))
            if np.abs(step).max() < 1e-9:
                break
        return cls(float(line[0]), float(line[1]), np.linalg.inv(curvature))

    def corrected(self, chances: Floats) -> tuple[Floats, float]:
        """(n,) chances by the most probable line, and the standard deviation of the logarithm of their sum.

        The latter from the covariance of the line, to first order (delta method).
        """
        x, small = _log_odds(chances), np.minimum(chances / _LEAST, 1.0)
        p = expit(self.offset + max(self.slope, 0.0) * x)  # a greater predicted chance is never a smaller one
        total = float((p * small).sum())
        if total <= 0:
            return np.zeros(len(x)), 0.0
        slopes = p * (1 - p) * small
        gradient = np.array([slopes.sum(), slopes @ x]) / total
        return p * small, float(np.sqrt(gradient @ self.covariance @ gradient))


def _log_odds(chances: Floats) -> Floats:
    return np.asarray(logit(np.clip(chances, _LEAST, 1 - _LEAST)), dtype=np.float64)
