"""The Gaussian process of ``surrogate.readout``, for replays: on a frozen pool, its labels are added one by one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from materia.campaign._said_once import said_once
from materia.quantities import quantity
from materia.resources import resource
from materia.search import Hurdle
from materia.search.replay import KnownPool, Learned
from materia.surrogate import Prior, Surrogate, Trees, above_bound, chance_above, mixed, share_of_trees, told_of

Floats = NDArray[np.float64]


class GaussianProcess:
    """One Gaussian process a quantity over networks that are not trained again, which must not have seen a label of
    the pool. Holds 4 bytes a quantity, label and candidate.

    A campaign's is the same (:mod:`materia.surrogate._regression`), but for its standard deviations: they are
    calibrated on formulas left out.

    Args:
        model: folder of the trained network, or ``base`` for the shipped weights; any quantities, the nearer to those
            looked for the better.
        device: of its predictions.
        hurdle: whether a quantity that some labels have at its physical bound, as metals their gap, is learned in two
            parts: whether it lies above, by trees, or a process where there are none; and where, from the labels that
            do.
        trees: beside each process, from the same labels, and believed as much as they deserve. 0: the process alone.
        fitted_on: amplitudes, lengths and noise are those of the greatest marginal likelihood of the first so many
            labels, and so is what the trees are believed; all are learned from.
    """

    def __init__(
        self, model: str, device: str = "auto", fitted_on: int = 300, hurdle: bool = True, trees: int = 100
    ) -> None:
        self.model = str(resource("data/weights/base")) if model == "base" else model
        self.device, self.fitted_on, self.hurdle, self.trees = device, fitted_on, hurdle, trees
        self._pool: KnownPool | None = None
        self._posteriors: dict[str, Posterior] = {}
        self._shares: dict[str, float] = {}

    def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, Floats], seed: int) -> Learned:
        if self._pool is not pool:
            self._pool, self._posteriors = pool, {}
        x, ends, latents = said_once(pool, ("process", self.model, self.device), lambda: self._matrix(pool))
        columns, hurdles = {}, {}

        def given(name: str, rows: np.ndarray, values: Floats) -> tuple[Floats, Floats]:
            posterior = self._posteriors.get(name)
            if posterior is None or not posterior.goes_on(rows, self.fitted_on):
                first = slice(None, self.fitted_on)
                posterior = Posterior(Prior.fitted(ends, x[rows[first]], values[first]), x)
                self._posteriors[name] = posterior
                self._shares[name] = share_of_trees(posterior.prior, x[rows[first]], values[first], seed, self.trees)
            said, share = posterior.given(rows, values), self._shares[name]
            return mixed(said, Trees.fitted(x[rows], values, seed, self.trees).read(x), share) if share else said

        for name, values in labels.items():
            columns[name] = given(name, rows, values)
            bound = quantity(name).lower if self.hurdle else None
            above = None if bound is None else above_bound(values, bound)
            if above is None:
                continue
            if self.trees:
                chance = Trees.of_yes_or_no(x[rows], above, seed, self.trees).chance(x)
            else:
                chance = chance_above(*given(f"{name} above its bound", rows, above.astype(np.float64)))
            hurdles[name] = Hurdle(chance, *given(f"{name} where above", rows[above], values[above]))
        return Learned(columns, latents, hurdles)

    def _matrix(self, pool: KnownPool) -> tuple[Floats, tuple[int, int, int], np.ndarray]:
        """(n, d) what is told of the candidates, standardised; the ends of its parts; and their latents."""
        told, latents = told_of(Surrogate.load(self.model, device=self.device), pool.crystals)
        centre, unit = told.scales()
        return (told.raw - centre) / unit, told.ends, np.concatenate(latents, axis=1)


class Posterior:
    """What labels say of all candidates at fixed kernel: labels are added to the Cholesky factor, not begun again with.

    Args:
        prior: of the quantity.
        x: (n, d) candidates.
    """

    def __init__(self, prior: Prior, x: Floats) -> None:
        self.prior, self.x = prior, x
        self.rows = np.empty(0, dtype=np.int64)
        self._factor = np.empty((0, 0))  # L with L Lᵀ = K + noise of the labelled
        self._half = np.empty((0, len(x)), dtype=np.float32)  # L⁻¹ k of all candidates
        self._variance = prior.variance(x)

    def goes_on(self, rows: np.ndarray, fitted_on: int) -> bool:
        """Whether these labels are those it has and more, and enough were there when it was fitted."""
        known = len(self.rows)
        return fitted_on <= known <= len(rows) and bool((rows[:known] == self.rows).all())

    def given(self, rows: np.ndarray, values: Floats) -> tuple[Floats, Floats]:
        """(mean (n,), standard deviation of a label (n,)) given the labels (k,) of some candidates."""
        self._add(rows[len(self.rows) :])
        middle, scale = self.prior.middle, self.prior.scale
        whitened = solve_triangular(self._factor, (values - middle) / scale, lower=True)
        mean = (whitened.astype(np.float32) @ self._half).astype(np.float64)
        std = np.sqrt(np.maximum(self._variance, 0.0) + self.prior.noise)
        return mean * scale + middle, std * scale

    def _add(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        n, more = len(self.rows), len(rows)
        across = self._half[:, rows].astype(np.float64)  # (n, more)
        corner = self.prior.covariance(self.x[rows]) + self.prior.noise * np.eye(more) - across.T @ across
        factor = np.zeros((n + more, n + more))
        factor[:n, :n], factor[n:, :n], factor[n:, n:] = self._factor, across.T, cholesky(corner, lower=True)
        half = np.empty((n + more, len(self.x)), dtype=np.float32)
        half[:n] = self._half
        end = 0
        for part in _parts(self.x):
            begin, end = end, end + len(part)
            rest = self.prior.covariance(self.x[rows], part) - across.T @ self._half[:, begin:end]
            half[n:, begin:end] = solve_triangular(factor[n:, n:], rest, lower=True)
        self._variance = self._variance - (half[n:].astype(np.float64) ** 2).sum(axis=0)
        self.rows, self._factor, self._half = np.concatenate([self.rows, rows]), factor, half


def _parts(x: Floats, size: int = 20_000) -> list[Floats]:
    return [x[begin : begin + size] for begin in range(0, len(x), size)]
