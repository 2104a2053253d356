"""A Gaussian process over what a trained network makes of a structure: its knowledge, and exact updates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, Sum, WhiteKernel

from materia.resources import resource
from materia.search import composition_features
from materia.search.replay import KnownPool, Learned
from materia.surrogate import Surrogate

Floats = NDArray[np.float64]
AMPLITUDE, LENGTH, NOISE = (1e-2, 10.0), (0.3, 10.0), (1e-2, 1.0)  # bounds, in units of the labels' spread


class GaussianProcess:
    """One Gaussian process a quantity (Rasmussen and Williams 2006) on the latents of a network not trained again.

    Its mean may follow the network's own predictions; deviations from them are smooth in its latent vectors, and in
    composition and volume per atom. The network must not have seen a label of the pool. Holds 4 bytes a quantity,
    label and candidate.

    Args:
        model: folder of the trained network, or ``base`` for the shipped weights; any quantities, the nearer to those
            looked for the better.
        device: of its predictions.
        fitted_on: amplitudes, lengths and noise are those of the greatest marginal likelihood of the first so many
            labels; all are learned from.
    """

    def __init__(self, model: str, device: str = "auto", fitted_on: int = 300) -> None:
        self.model = str(resource("data/weights/base")) if model == "base" else model
        self.device, self.fitted_on = device, fitted_on
        self._told: tuple[KnownPool, Floats, tuple[int, ...], np.ndarray] | None = None
        self._posteriors: dict[str, Posterior] = {}

    def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, Floats], seed: int) -> Learned:
        if self._told is None or self._told[0] is not pool:
            self._told, self._posteriors = (pool, *self._matrix(pool)), {}
        _, x, ends, latents = self._told
        columns = {}
        for name, values in labels.items():
            posterior = self._posteriors.get(name)
            if posterior is None or not posterior.goes_on(rows, self.fitted_on):
                first = slice(None, self.fitted_on)
                posterior = Posterior.fitted(_kernel(ends), x, rows[first], values[first])
                self._posteriors[name] = posterior
            columns[name] = posterior.given(rows, values)
        return Learned(columns, latents)

    def _matrix(self, pool: KnownPool) -> tuple[Floats, tuple[int, ...], np.ndarray]:
        """(n, d) what is told of the candidates; the ends of its parts: predictions, latents, what they are made of."""
        found = Surrogate.load(self.model, device=self.device).predict(pool.crystals)
        volume = np.array([crystal.volume / crystal.n_atoms for crystal in pool.crystals])
        own = np.column_stack([composition_features(pool.crystals), volume])  # no more than a supercell has too
        parts: list[np.ndarray] = [np.column_stack([found.mean, found.std]), found.embedding, own]
        ends = tuple(int(end) for end in np.cumsum([part.shape[1] for part in parts]))
        return np.hstack([_standardised(part) for part in parts]), ends, found.embedding


class Posterior:
    """What labels say of all candidates at fixed kernel: labels are added to the Cholesky factor, not begun again with.

    Args:
        kernel: prior covariance, noise left out, in units of ``scale``.
        noise: variance of a label, likewise.
        x: (n, d) candidates.
        middle: prior mean.
        scale: unit of the labels.
    """

    def __init__(self, kernel: Kernel, noise: float, x: Floats, middle: float, scale: float) -> None:
        self.kernel, self.noise, self.x, self.middle, self.scale = kernel, noise, x, middle, scale
        self.rows = np.empty(0, dtype=np.int64)
        self._factor = np.empty((0, 0))  # L with L Lᵀ = K + noise of the labelled
        self._half = np.empty((0, len(x)), dtype=np.float32)  # L⁻¹ k of all candidates
        self._variance = kernel.diag(x)

    @classmethod
    def fitted(cls, kernel: Sum, x: Floats, rows: np.ndarray, values: Floats) -> Posterior:
        """With the hyperparameters of the greatest marginal likelihood; the kernel's last term is the noise."""
        middle, scale = float(values.mean()), max(float(values.std()), 1e-9)
        with warnings.catch_warnings():  # a hyperparameter at its bound is an answer
            warnings.simplefilter("ignore", ConvergenceWarning)
            best = GaussianProcessRegressor(kernel).fit(x[rows], (values - middle) / scale).kernel_
        return cls(best.k1, float(best.k2.noise_level), x, middle, scale)

    def goes_on(self, rows: np.ndarray, fitted_on: int) -> bool:
        """Whether these labels are those it has and more, and enough were there when it was fitted."""
        known = len(self.rows)
        return fitted_on <= known <= len(rows) and bool((rows[:known] == self.rows).all())

    def given(self, rows: np.ndarray, values: Floats) -> tuple[Floats, Floats]:
        """(mean (n,), standard deviation of a label (n,)) given the labels (k,) of some candidates."""
        self._add(rows[len(self.rows) :])
        whitened = solve_triangular(self._factor, (values - self.middle) / self.scale, lower=True)
        mean = (whitened.astype(np.float32) @ self._half).astype(np.float64)
        std = np.sqrt(np.maximum(self._variance, 0.0) + self.noise)
        return mean * self.scale + self.middle, std * self.scale

    def _add(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        n, more = len(self.rows), len(rows)
        across = self._half[:, rows].astype(np.float64)  # (n, more)
        corner = self.kernel(self.x[rows]) + self.noise * np.eye(more) - across.T @ across
        factor = np.zeros((n + more, n + more))
        factor[:n, :n], factor[n:, :n], factor[n:, n:] = self._factor, across.T, cholesky(corner, lower=True)
        half = np.empty((n + more, len(self.x)), dtype=np.float32)
        half[:n] = self._half
        end = 0
        for part in _parts(self.x):
            begin, end = end, end + len(part)
            rest = self.kernel(self.x[rows], part) - across.T @ self._half[:, begin:end]
            half[n:, begin:end] = solve_triangular(factor[n:, n:], rest, lower=True)
        self._variance = self._variance - (half[n:].astype(np.float64) ** 2).sum(axis=0)
        self.rows, self._factor, self._half = np.concatenate([self.rows, rows]), factor, half


def _parts(x: Floats, size: int = 20_000) -> list[Floats]:
    return [x[begin : begin + size] for begin in range(0, len(x), size)]


def _standardised(part: np.ndarray) -> Floats:
    """Columns of mean 0, and such that the mean squared norm of a row is 1."""
    x = np.asarray(part, dtype=np.float64)
    spread = x.std(axis=0)
    return np.asarray((x - x.mean(axis=0)) / np.where(spread > 1e-9, spread, np.inf) / np.sqrt(x.shape[1]))


def _kernel(ends: tuple[int, ...]) -> Sum:
    predictions, latents, own = ends
    return (
        _OfColumns(ConstantKernel(1.0, AMPLITUDE) * DotProduct(1.0, "fixed"), 0, predictions)
        + _OfColumns(ConstantKernel(0.5, AMPLITUDE) * RBF(1.0, LENGTH), predictions, latents)
        + _OfColumns(ConstantKernel(0.5, AMPLITUDE) * RBF(1.0, LENGTH), latents, own)
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
