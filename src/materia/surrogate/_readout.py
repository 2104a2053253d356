"""A Gaussian process that reads out trained networks: what it is told of a structure, and what labels make it say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from materia.surrogate._composition import composition_statistics
from materia.surrogate._evidence import Evidence
from materia.surrogate._graph import GraphStore
from materia.surrogate._prior import Ends, Prior, centre_and_unit

FITTED_ON = 300  # labels that hyperparameters are fitted to, which costs the cube of their number many times over
_CHUNK = 4096  # structures read at a time

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """What a process is told of n structures: nothing that a supercell or another choice of cell would change.

    Attributes:
        raw: (n, d) the networks' figures (mean over the ensemble) and latents, statistics of the composition, and the
            volume per atom, Å³.
        ends: of the columns of its parts.
    """

    raw: Floats
    ends: Ends

    @classmethod
    def of(cls, figures: Floats, latents: NDArray[np.float32], store: GraphStore) -> Told:
        """From figures (n, F) and latents (n, L) of the structures in a store."""
        atoms = torch.split(store.numbers.cpu(), store.atoms.diff().tolist())
        made_of = composition_statistics(each.numpy() for each in atoms)
        parts = (figures, latents, np.column_stack([made_of, store.volume.cpu().double().numpy()]))
        first, second, third = (int(end) for end in np.cumsum([part.shape[1] for part in parts]))
        return cls(np.hstack(parts).astype(np.float64), (first, second, third))

    def scales(self) -> tuple[Floats, Floats]:
        """(centre (d,), unit (d,)) that standardise each part."""
        parts = np.split(self.raw, self.ends[:-1], axis=1)
        centres, units = zip(*(centre_and_unit(part) for part in parts), strict=True)
        return np.concatenate(centres), np.concatenate(units)


@dataclass(frozen=True)
class Readout:
    """Gaussian processes of T quantities, given the figures of m structures.

    Attributes:
        centre, unit: (d,) standardise what is told.
        x: (m, d) standardised, of the labelled structures.
        labels: (m, T) figures, NaN where missing.
        priors: (T) of the quantities.
    """

    centre: Floats
    unit: Floats
    x: Floats
    labels: Floats
    priors: tuple[Prior, ...]

    @classmethod
    def fitted(cls, scales: tuple[Floats, Floats], told: Told, labels: Floats, seed: int) -> Readout:
        """Hyperparameters of the greatest marginal likelihood of labels (m, T); of a draw where they are many."""
        centre, unit = scales
        x, priors = (told.raw - centre) / unit, []
        order = np.random.default_rng(seed).permutation(len(x))
        for column in labels.T:
            rows = np.sort(order[~np.isnan(column[order])][:FITTED_ON])
            priors.append(Prior.fitted(told.ends, x[rows], column[rows]))
        return cls(centre, unit, x, labels, tuple(priors))

    def read(self, raw: Floats) -> tuple[Floats, Floats]:
        """Figures (n, T) and their standard deviations (n, T), the noise of a label included."""
        mean, std = (np.empty((len(raw), len(self.priors))) for _ in range(2))
        for begin in range(0, len(raw), _CHUNK):
            x = (raw[begin : begin + _CHUNK] - self.centre) / self.unit
            for j, (prior, (rows, factor, weights)) in enumerate(zip(self.priors, self._solved, strict=True)):
                across = prior.covariance(self.x[rows], x)
                half = solve_triangular(factor, across, lower=True)
                variance = np.maximum(prior.variance(x) - (half**2).sum(axis=0), 0.0) + prior.noise
                here = slice(begin, begin + len(x))
                mean[here, j] = prior.middle + prior.scale * (weights @ across)
                std[here, j] = prior.scale * np.sqrt(variance)
        return mean, std

    def evidence(self, networks: Evidence, latents: NDArray[np.float32], store: GraphStore) -> Evidence:
        """What it says of the structures of a store, of which the networks say so much."""
        mean, std = self.read(Told.of(networks.figures, latents, store).raw)
        return self.said(mean, std, networks.distance)

    @staticmethod
    def said(mean: Floats, std: Floats, distance: Floats) -> Evidence:
        """Its figures (n, T), standard deviations (n, T) and latent distances (n,) as evidence of one member."""
        return Evidence(mean, mean, std, np.zeros_like(mean), distance, np.ones(len(mean), dtype=np.int64))

    @cached_property
    def _solved(self) -> list[tuple[NDArray[np.int64], Floats, Floats]]:
        """Of each quantity: its labelled rows (k,), the Cholesky factor of their covariance, and the weights (k,)."""
        found = []
        for prior, column in zip(self.priors, self.labels.T, strict=True):
            rows = np.flatnonzero(~np.isnan(column))
            covariance = prior.covariance(self.x[rows]) + prior.noise * np.eye(len(rows))
            factor, _ = cho_factor(covariance, lower=True)
            weights = cho_solve((factor, True), (column[rows] - prior.middle) / prior.scale)
            found.append((rows, np.tril(factor), weights))
        return found

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays, for a model file."""
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in _ARRAYS}

    @classmethod
    def from_file(cls, tensors: Mapping[str, torch.Tensor], priors: Sequence[Mapping[str, Any]]) -> Readout:
        """What :meth:`tensors` and the priors' ``to_json`` gave.

        Raises:
            KeyError, ValueError: they are not of one readout.
        """
        arrays = {name: tensors[name].numpy() for name in _ARRAYS}
        if len(priors) != arrays["labels"].shape[1]:
            raise ValueError(f"{len(priors)} priors for {arrays['labels'].shape[1]} quantities")
        return cls(**arrays, priors=tuple(Prior.from_json(entries) for entries in priors))


_ARRAYS = ("centre", "unit", "x", "labels")
