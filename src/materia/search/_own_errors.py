"""How far dear gaps at one's own level lie from those that the published map predicts, by composition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from materia.search._gauss import Floats

# eV of the error that goes with composition and of that which all have in common, and how far the former reaches, in
# standard deviations of each feature. Chosen by the log loss of windows over ten folds of the project's own pairs
# (experiments/gap_map/own_errors.py).
AMPLITUDE, COMMON, LENGTH = 0.3, 0.1, 1.0
PRIOR_PAIRS = 10.0  # so many as noisy as the published ones weigh beside one's own
MEDIAN_TO_STD = 1.4826  # of a normal distribution
MOST = 500  # pairs; of more an even selection: a pool of a million takes their square
BLOCK = 20_000  # rows at a time


@dataclass(frozen=True)
class OwnErrors:
    """A Gaussian process over the error of a map, eV: one share that all have in common, one by composition.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1.

    Attributes:
        x: (n, features) normalised compositions of the pairs.
        factor: Cholesky factor of their covariance.
        weights: (n,) covariance solved for the errors.
        stretch: factor on the noise, by what the process errs on pairs that are left out one at a time.
    """

    x: Floats
    factor: Floats
    weights: Floats
    stretch: float

    @classmethod
    def of(cls, x: Floats, error: Floats, noise: Floats) -> OwnErrors:
        """From n pairs.

        Args:
            x: (n, features) compositions, each feature of unit spread.
            error: (n,) eV, what was found less what was predicted.
            noise: (n,) eV, standard deviation of errors that composition does not tell.
        """
        if len(x) > MOST:
            some = np.linspace(0, len(x) - 1, MOST).round().astype(int)
            x, error, noise = x[some], error[some], noise[some]
        stretch = _stretch(_covariance(x, x) + np.diag(noise**2), error)
        factor, _ = cho_factor(_covariance(x, x) + np.diag((stretch * noise) ** 2), lower=True)
        return cls(x, np.tril(factor), cho_solve((factor, True), error), stretch)

    @property
    def n(self) -> int:
        return len(self.x)

    def at(self, x: Floats) -> tuple[Floats, Floats]:
        """(n,) mean and standard deviation of the error to be expected of n normalised compositions, eV."""
        mean, variance = np.empty(len(x)), np.empty(len(x))
        for first in range(0, len(x), BLOCK):
            rows = slice(first, first + BLOCK)
            shared = _covariance(x[rows], self.x)
            mean[rows] = shared @ self.weights
            explained = (shared * cho_solve((self.factor, True), shared.T).T).sum(1)
            variance[rows] = AMPLITUDE**2 + COMMON**2 - explained
        return mean, np.sqrt(np.maximum(variance, 0.0))


def _covariance(a: Floats, b: Floats) -> Floats:
    apart = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    near = np.exp(-np.maximum(apart, 0.0) / (2 * LENGTH**2 * a.shape[1]))
    return np.asarray(COMMON**2 + AMPLITUDE**2 * near)


def _stretch(covariance: Floats, error: Floats) -> float:
    """Median error on pairs left out over the expected one (Rasmussen and Williams, equation 5.12), drawn to 1."""
    inverse = np.linalg.inv(covariance)
    left_out = (inverse @ error) / np.sqrt(np.diag(inverse))
    found, n = MEDIAN_TO_STD * np.median(np.abs(left_out)), len(error)
    return float(np.sqrt((n * found**2 + PRIOR_PAIRS) / (n + PRIOR_PAIRS)))
