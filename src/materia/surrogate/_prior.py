"""What a Gaussian process holds for likely before it sees a label: covariances of structures, by what is told of them.

Three parts add up, each with an amplitude: linear in a network's predictions, and smooth in its latent vectors and in
what a structure is made of. Amplitudes, lengths and noise are those of the greatest marginal likelihood (C. E.
Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press (2006), chapter 5).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, Sum, WhiteKernel

AMPLITUDE, LENGTH, NOISE = (1e-2, 10.0), (0.3, 10.0), (1e-2, 1.0)  # bounds, in units of the labels' spread

Ends = tuple[int, int, int]  # of the columns of each part: predictions, latents, what a structure is made of
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """Of one quantity.

    Attributes:
        ends: of the columns of each part.
        theta: (6,) logarithms of the hyperparameters, in the order of scikit-learn's kernel; the last is the noise.
        middle: mean of the labels it was fitted on, and the mean it assumes.
        scale: their standard deviation: the unit of all covariances is its square.
    """

    ends: Ends
    theta: tuple[float, ...]
    middle: float
    scale: float

    @classmethod
    def fitted(cls, ends: Ends, x: Floats, values: Floats) -> Prior:
        """With the hyperparameters of the greatest marginal likelihood of labels (k,) at rows x (k, d); those it starts
        from where fewer than two labels say nothing of them."""
        kernel = _kernel(ends)
        if len(values) < 2:
            return cls(ends, tuple(kernel.theta.tolist()), float(values.sum()), 1.0)
        middle, scale = float(values.mean()), max(float(values.std()), 1e-9)
        with warnings.catch_warnings():  # a hyperparameter at its bound is an answer
            warnings.simplefilter("ignore", ConvergenceWarning)
            best = GaussianProcessRegressor(kernel).fit(x, (values - middle) / scale).kernel_
        return cls(ends, tuple(best.theta.tolist()), middle, scale)

    @property
    def kernel(self) -> Sum:
        """Covariance of what is to be known, and as its last term the noise of a label."""
        return _kernel(self.ends).clone_with_theta(np.array(self.theta))

    @property
    def noise(self) -> float:
        """Variance of a label about what is to be known, in units of ``scale`` squared, as all variances here."""
        return float(np.exp(self.theta[-1]))

    def covariance(self, a: Floats, b: Floats | None = None) -> Floats:
        """(n, m) of rows a (n, d) and b (m, d), without noise; b like a where it is None."""
        return np.asarray(self.kernel.k1(a, b))

    def variance(self, x: Floats) -> Floats:
        """(n,) of rows x (n, d), without noise."""
        return np.asarray(self.kernel.k1.diag(x))

    def left_out(self, x: Floats, values: Floats) -> tuple[Floats, Floats]:
        """What it says of each of the labels (k,) at rows x (k, d) given all others: mean (k,) and standard deviation
        of a label (k,) (Rasmussen and Williams, equations 5.12), with hyperparameters that have seen it."""
        inverse = np.linalg.inv(self.covariance(x) + self.noise * np.eye(len(x)))
        off = (inverse @ (values - self.middle)) / np.diag(inverse)
        return values - off, self.scale / np.sqrt(np.diag(inverse))

    def to_json(self) -> dict[str, Any]:
        return {"ends": list(self.ends), "theta": list(self.theta), "middle": self.middle, "scale": self.scale}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Prior:
        """What :meth:`to_json` wrote."""
        a, b, c = entries["ends"]
        return cls((a, b, c), tuple(entries["theta"]), float(entries["middle"]), float(entries["scale"]))


def centre_and_unit(part: np.ndarray) -> tuple[Floats, Floats]:
    """(centre (d,), unit (d,)) by which the columns of a part (n, d) get mean 0, and such that the mean squared norm of
    a row is 1; a column that is the same everywhere has an infinite unit."""
    x = np.asarray(part, dtype=np.float64)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    real = spread > 1e-6 * np.maximum(np.abs(centre), 1e-3)  # the rest is rounding, in single precision
    return centre, np.where(real, spread, np.inf) * np.sqrt(x.shape[1])


def _kernel(ends: Sequence[int]) -> Sum:
    predictions, latents, made_of = ends
    return (
        _OfColumns(ConstantKernel(1.0, AMPLITUDE) * DotProduct(1.0, "fixed"), 0, predictions)
        + _OfColumns(ConstantKernel(0.5, AMPLITUDE) * RBF(1.0, LENGTH), predictions, latents)
        + _OfColumns(ConstantKernel(0.5, AMPLITUDE) * RBF(1.0, LENGTH), latents, made_of)
        + WhiteKernel(0.05, NOISE)
    )


class _OfColumns(Kernel):  # type: ignore[misc]
    """A kernel of some columns: scikit-learn's see them all.

    Args:
        kernel: of the columns.
        first, end: the columns from the one on, up to the other.
    """

    def __init__(self, kernel: Kernel, first: int, end: int) -> None:
        self.kernel, self.first, self.end = kernel, first, end

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"kernel": self.kernel, "first": self.first, "end": self.end}

    @property
    def hyperparameters(self) -> Any:
        return self.kernel.hyperparameters

    @property
    def theta(self) -> Any:
        return self.kernel.theta

    @theta.setter
    def theta(self, theta: Any) -> None:
        self.kernel.theta = theta

    @property
    def bounds(self) -> Any:
        return self.kernel.bounds

    def clone_with_theta(self, theta: Any) -> _OfColumns:
        return _OfColumns(self.kernel.clone_with_theta(theta), self.first, self.end)

    def __call__(self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False) -> Any:
        mine = X[:, self.first : self.end]
        if Y is None:
            return self.kernel(mine, eval_gradient=eval_gradient)
        return self.kernel(mine, Y[:, self.first : self.end])

    def diag(self, X: np.ndarray) -> Any:
        return self.kernel.diag(X[:, self.first : self.end])

    def is_stationary(self) -> bool:
        return False
