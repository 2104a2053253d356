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
from scipy.special import ndtr

from materia.surrogate._composition import composition_statistics
from materia.surrogate._evidence import Evidence
from materia.surrogate._graph import GraphStore
from materia.surrogate._prior import Ends, Prior, centre_and_unit
from materia.surrogate._trees import Said, Trees, mixed, share_of_trees

LEAST_AT_BOUND = (
    8  # labels at a physical bound, and above it, from which it is learned whether there is more than the bound
)
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

    A quantity that some labels have at its physical bound, as metals their gap, has two columns more: whether it lies
    above, 1 or 0, which is left to trees where there are any, and where, of the labels that do.

    Attributes:
        centre, unit: (d,) standardise what is told.
        x: (m, d) standardised, of the labelled structures.
        labels: (m, T + 2 H) figures, NaN where missing.
        priors: (T + 2 H) of the columns; None where trees alone answer.
        hurdles: (H) which of the quantities those are.
        trees: beside each process; none: the process alone.
        seed: of the trees, which are grown from the labels whenever they are needed.
        shares: (T + 2 H) how much the trees of each column are believed.
    """

    centre: Floats
    unit: Floats
    x: Floats
    labels: Floats
    priors: tuple[Prior | None, ...]
    hurdles: tuple[int, ...] = ()
    trees: int = 0
    seed: int = 0
    shares: tuple[float, ...] = ()

    @classmethod
    def fitted(
        cls,
        scales: tuple[Floats, Floats],
        told: Told,
        labels: Floats,
        seed: int,
        bounds: Sequence[float | None] = (),
        trees: int = 0,
    ) -> Readout:
        """Hyperparameters of the greatest marginal likelihood of labels (m, T), and how much trees are believed; of a
        draw where they are many.

        Args:
            bounds: (T) physical lower bounds; left out, nothing is learned of what lies at them.
            trees: beside each process.
        """
        hurdles, labels = _with_parts(labels, bounds)
        centre, unit = scales
        x, priors, shares = (told.raw - centre) / unit, [], []
        order = np.random.default_rng(seed).permutation(len(x))
        yes_or_no = _yes_or_no(labels.shape[1], len(hurdles))
        for j, column in enumerate(labels.T):
            rows = np.sort(order[~np.isnan(column[order])][:FITTED_ON])
            prior = None if trees and j in yes_or_no else Prior.fitted(told.ends, x[rows], column[rows])
            priors.append(prior)
            shares.append(1.0 if prior is None else share_of_trees(prior, x[rows], column[rows], seed, trees))
        return cls(centre, unit, x, labels, tuple(priors), hurdles, trees, seed, tuple(shares))

    def read(self, raw: Floats) -> tuple[Floats, Floats]:
        """All columns (n, T + 2 H) and their standard deviations, the noise of a label included."""
        mean, std = (np.empty((len(raw), len(self.priors))) for _ in range(2))
        for begin in range(0, len(raw), _CHUNK):
            x = (raw[begin : begin + _CHUNK] - self.centre) / self.unit
            here = slice(begin, begin + len(x))
            for j in range(len(self.priors)):
                mean[here, j], std[here, j] = self._read(j, x)
        return mean, std

    def _read(self, j: int, x: Floats) -> Said:
        """One column of standardised rows x (n, d)."""
        prior = self.priors[j]
        if prior is None:
            return _of_chance(self._grown[j].chance(x))
        rows, factor, weights = self._solved[j]
        across = prior.covariance(self.x[rows], x)
        half = solve_triangular(factor, across, lower=True)
        variance = np.maximum(prior.variance(x) - (half**2).sum(axis=0), 0.0) + prior.noise
        said = prior.middle + prior.scale * (weights @ across), prior.scale * np.sqrt(variance)
        if j in self._yes_or_no:
            return _of_chance(chance_above(*said))
        return mixed(said, self._grown[j].read(x), self.shares[j]) if j in self._grown else said

    def evidence(
        self, networks: Evidence, latents: NDArray[np.float32], store: GraphStore
    ) -> tuple[Evidence, dict[int, tuple[Floats, Floats, Floats]]]:
        """What it says of the n structures of a store, of which the networks say so much; and for each of ``hurdles``
        the chance (n,) to lie above the bound, and mean and standard deviation (n,) of the figure if it does."""
        mean, std = self.read(Told.of(networks.figures, latents, store).raw)
        above = {
            j: (mean[:, k], mean[:, k + 1], std[:, k + 1]) for j, k in zip(self.hurdles, self._yes_or_no, strict=True)
        }
        first = mean.shape[1] - 2 * len(self.hurdles)
        return self.said(mean[:, :first], std[:, :first], networks.distance), above

    @staticmethod
    def said(mean: Floats, std: Floats, distance: Floats) -> Evidence:
        """Its figures (n, T), standard deviations (n, T) and latent distances (n,) as evidence of one member."""
        return Evidence(mean, mean, std, np.zeros_like(mean), distance, np.ones(len(mean), dtype=np.int64))

    @property
    def _yes_or_no(self) -> range:
        """The columns that are 1 or 0, in the order of ``hurdles``."""
        return _yes_or_no(len(self.priors), len(self.hurdles))

    @cached_property
    def _solved(self) -> dict[int, tuple[NDArray[np.int64], Floats, Floats]]:
        """Of each column with a process: its labelled rows (k,), the Cholesky factor of their covariance, and the
        weights (k,)."""
        found = {}
        for j, prior in enumerate(self.priors):
            if prior is None:
                continue
            rows = self._labelled(j)
            covariance = prior.covariance(self.x[rows]) + prior.noise * np.eye(len(rows))
            factor, _ = cho_factor(covariance, lower=True)
            weights = cho_solve((factor, True), (self.labels[rows, j] - prior.middle) / prior.scale)
            found[j] = rows, np.tril(factor), weights
        return found

    @cached_property
    def _grown(self) -> dict[int, Trees]:
        """Of each column: its trees, where they are believed at all."""
        found = {}
        for j, share in enumerate(self.shares):
            rows = self._labelled(j)
            x, values = self.x[rows], self.labels[rows, j]
            if self.priors[j] is None:
                found[j] = Trees.of_yes_or_no(x, values > 0, self.seed, self.trees)
            elif share:
                found[j] = Trees.fitted(x, values, self.seed, self.trees)
        return found

    def _labelled(self, j: int) -> NDArray[np.int64]:
        return np.flatnonzero(~np.isnan(self.labels[:, j]))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays, for a model file."""
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in _ARRAYS}

    def card(self) -> dict[str, Any]:
        """What is no array, for a model's card."""
        priors = [None if prior is None else prior.to_json() for prior in self.priors]
        return {
            "priors": priors,
            "hurdles": list(self.hurdles),
            "trees": self.trees,
            "seed": self.seed,
            "shares": list(self.shares),
        }

    @classmethod
    def from_file(cls, tensors: Mapping[str, torch.Tensor], card: Mapping[str, Any]) -> Readout:
        """What :meth:`tensors` and :meth:`card` gave.

        Raises:
            KeyError, ValueError: they are not of one readout.
        """
        arrays = {name: tensors[name].numpy() for name in _ARRAYS}
        priors, hurdles = card["priors"], card.get("hurdles", ())
        if len(priors) != arrays["labels"].shape[1]:
            raise ValueError(f"{len(priors)} priors for {arrays['labels'].shape[1]} columns")
        if any(not 0 <= j < len(priors) - 2 * len(hurdles) for j in hurdles):
            raise ValueError(f"hurdles {list(hurdles)} for {len(priors) - 2 * len(hurdles)} quantities")
        trees, shares = int(card.get("trees", 0)), tuple(float(share) for share in card.get("shares", ()))
        alone = [j for j, entries in enumerate(priors) if entries is None]
        if alone and not (trees > 0 and len(shares) == len(priors)):
            raise ValueError(f"neither a process nor trees for the columns {alone}")
        return cls(
            **arrays,
            priors=tuple(None if entries is None else Prior.from_json(entries) for entries in priors),
            hurdles=tuple(hurdles),
            trees=trees,
            seed=int(card.get("seed", 0)),
            shares=shares,
        )


_ARRAYS = ("centre", "unit", "x", "labels")


def _yes_or_no(columns: int, hurdles: int) -> range:
    """Which of so many columns are 1 or 0, with so many quantities whose parts stand at the end."""
    return range(columns - 2 * hurdles, columns, 2)


def _with_parts(labels: Floats, bounds: Sequence[float | None]) -> tuple[tuple[int, ...], Floats]:
    """Which quantities many labels (m, T) have at their bounds, and the labels with two columns more for each."""
    hurdles, columns = [], [labels]
    for j, bound in enumerate(bounds):
        if bound is None:
            continue
        values = labels[:, j]
        known = ~np.isnan(values)
        if (above := above_bound(values[known], bound)) is None:
            continue
        hurdles.append(j)
        parts = np.full((len(values), 2), np.nan)
        parts[known, 0] = above
        parts[known, 1] = np.where(above, values[known], np.nan)
        columns.append(parts)
    return tuple(hurdles), np.hstack(columns)


def above_bound(values: Floats, bound: float) -> NDArray[np.bool_] | None:
    """(k,) which labels (k,) lie above a physical bound; None where too few do, or too few lie at it, to learn from."""
    above = values > bound
    return above if min(above.sum(), (~above).sum()) >= LEAST_AT_BOUND else None


def chance_above(mean: Floats, std: Floats) -> Floats:
    """(n,) probability to lie above the bound, by a process that learned 1 for labels above it and 0 for those at it,
    and says mean (n,) and std (n,): least-squares classification (Rasmussen and Williams, chapter 6.5; see ``_prior``).
    """
    return np.asarray(ndtr((mean - 0.5) / std))


def _of_chance(chance: Floats) -> Said:
    """Mean (n,) and standard deviation (n,) of a label that is 1 with that chance (n,), and 0 otherwise."""
    return chance, np.sqrt(chance * (1 - chance))
