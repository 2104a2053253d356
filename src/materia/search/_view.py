"""The pool as the search sees it at one moment."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from materia.errors import SearchError
from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions
from materia.search._gauss import Floats

_CHUNK = 16384
_SAMPLE = 256
_REACH = 0.3  # length scale of novelty, in median distances between candidates


@dataclass(frozen=True)
class PoolView:
    """n candidates, what is believed about them, and what is wanted.

    Attributes:
        n: size of the pool.
        conditions, beliefs: what is wanted and believed; without both only ``random`` can choose.
        eligible: (n,) bool; False is never chosen.
        embedding: (n, d) the surrogate's embedding, any unit.
        groups: name -> (n,) label; candidates with an equal label are of one family. Give :func:`family_codes` of
            them where many views share a pool.
        cost: (n,) predicted cost in seconds.
        success: (n,) predicted probability in 0..1 that the calculation ends well.
        formulas: (n,) reduced formulas, for acquisitions that know chemistry.

    Raises:
        SearchError: a length that is not n, a cost that is not positive, a probability outside 0..1.
    """

    n: int
    conditions: Conditions | None = None
    beliefs: Beliefs | None = None
    eligible: np.ndarray | None = None
    embedding: np.ndarray | None = None
    groups: Mapping[str, Sequence[Hashable] | np.ndarray] = field(default_factory=dict)
    cost: np.ndarray | None = None
    success: np.ndarray | None = None
    formulas: Sequence[str] | None = None

    def __post_init__(self) -> None:
        given: dict[str, int | None] = {
            "beliefs": None if self.beliefs is None else self.beliefs.n,
            "eligible": None if self.eligible is None else len(self.eligible),
            "embedding": None if self.embedding is None else len(self.embedding),
            "cost": None if self.cost is None else len(self.cost),
            "success": None if self.success is None else len(self.success),
            "formulas": None if self.formulas is None else len(self.formulas),
        }
        given |= {f"group {name!r}": len(labels) for name, labels in self.groups.items()}
        for name, length in given.items():
            if length is not None and length != self.n:
                raise SearchError(f"{name} has {length} rows, the pool has {self.n}")
        if self.n < 1:
            raise SearchError("an empty pool", remedy="widen the chemical space or its filters")
        if self.cost is not None and not (np.nan_to_num(self.cost, nan=1.0) > 0).all():
            raise SearchError(f"a predicted cost is not positive: {float(np.nanmin(self.cost))} s")
        if self.success is not None and not ((self.success >= 0) & (self.success <= 1)).all():
            raise SearchError("a probability of success lies outside 0..1")

    def choosable(self, max_cost_s: float | None) -> tuple[np.ndarray, dict[str, int]]:
        """Candidates that may be chosen at all, and how many are left after each test.

        Returns:
            (n,) bool, and counts by name: ``pool``, ``eligible``, ``predicted``, ``affordable``.
        """
        if ("choosable", max_cost_s) not in self._kept:
            self._kept["choosable", max_cost_s] = self._choosable(max_cost_s)
        mask, funnel = self._kept["choosable", max_cost_s]
        return mask.copy(), dict(funnel)

    def _choosable(self, max_cost_s: float | None) -> tuple[np.ndarray, dict[str, int]]:
        mask = np.ones(self.n, dtype=bool) if self.eligible is None else np.array(self.eligible, dtype=bool)
        funnel = {"pool": self.n, "eligible": int(mask.sum())}
        if self.beliefs is not None and self.conditions is not None:
            mask &= self.beliefs.usable(self.conditions.quantities)
            funnel["predicted"] = int(mask.sum())
        if self.cost is not None:
            mask &= np.isfinite(self.cost)
            if max_cost_s is not None:
                mask &= self.cost <= max_cost_s
            funnel["affordable"] = int(mask.sum())
        return mask, funnel

    @cached_property
    def codes(self) -> dict[str, np.ndarray]:
        """Group's name -> (n,) int codes of its labels."""
        return {name: family_codes(labels) for name, labels in self.groups.items()}

    @cached_property
    def _metric(self) -> tuple[np.ndarray, float]:
        """(d,) factors that give the embedding unit variance by column, and the length scale of novelty."""
        if self.embedding is None:
            return np.zeros(0), 0.0
        spread = _column_std(self.embedding)
        factors = np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), 1.0)
        some = self.embedding[np.unique(np.linspace(0, self.n - 1, min(self.n, _SAMPLE)).astype(int))]
        some = some[np.isfinite(some).all(axis=1)] * factors
        distances = np.sqrt(((some[:, None] - some[None]) ** 2).sum(axis=-1))[np.triu_indices(len(some), 1)]
        return factors, _REACH * float(np.median(distances)) if len(distances) else 0.0

    def similarity(self, index: int) -> Floats:
        """(n,) closeness to one candidate in the embedding, exp(-d²/2ℓ²): 1 is the same, 0 is far or unknown."""
        return 1.0 - self._apart(np.ones(self.n), (index,), 1.0)

    def novelty(self, pending: tuple[int, ...], diversity: float) -> Floats:
        """(n,) product over the pending, in their order, of 1 - diversity * similarity; not to be written to.

        The last product is kept: a round's next slot has one more pending candidate and costs one more factor.
        """
        before: tuple[int, ...]
        product: Floats | None
        before, strength, product = self._kept.get("novelty", ((), diversity, None))
        if product is None or strength != diversity or pending[: len(before)] != before:
            before, product = (), np.ones(self.n)
        product = self._apart(product, pending[len(before) :], diversity)
        self._kept["novelty"] = (pending, diversity, product)
        return product

    def _apart(self, product: Floats, rows: tuple[int, ...], diversity: float) -> Floats:
        """(n,) the product times 1 - diversity * similarity to each of the rows, in their order."""
        factors, length = self._metric
        if length == 0.0 or self.embedding is None or not rows:
            return product
        result = product.copy()
        # double precision: what sums of single precision differ by between processors could decide a pick
        near = np.asarray(self.embedding[list(rows)], dtype=np.float64) * factors
        for start in range(0, self.n, _CHUNK):
            some = np.asarray(self.embedding[start : start + _CHUNK], dtype=np.float64) * factors
            square = (some**2).sum(axis=1)[:, None] + (near**2).sum(axis=1) - 2.0 * (some @ near.T)
            alike = np.exp(-0.5 * np.maximum(square, 0.0) / length**2)
            for k in range(len(rows)):
                result[start : start + _CHUNK] *= 1.0 - diversity * np.nan_to_num(alike[:, k], nan=0.0)
        return result

    @cached_property
    def _kept(self) -> dict[Any, Any]:
        return {}


def family_codes(labels: Sequence[Hashable] | np.ndarray) -> np.ndarray:
    """(n,) int64, equal where the labels are; an array of whole numbers from 0 is its own code.

    Worth doing once for a pool: a million labels take a second.
    """
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu" and labels.min(initial=0) >= 0:
        return labels.astype(np.int64, copy=False)
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.int64)


def _column_std(embedding: np.ndarray) -> Floats:
    """(d,) standard deviation of the columns over the rows that are finite, in slices of bounded memory."""
    n, total, square = 0, np.zeros(embedding.shape[1]), np.zeros(embedding.shape[1])
    centre: np.ndarray | None = None
    for start in range(0, len(embedding), _CHUNK):
        rows = np.asarray(embedding[start : start + _CHUNK], dtype=np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if not len(rows):
            continue
        centre = rows.mean(axis=0) if centre is None else centre  # of the first slice: sums stay small
        n, total, square = (
            n + len(rows),
            total + (rows - centre).sum(axis=0),
            square + ((rows - centre) ** 2).sum(axis=0),
        )
    return np.sqrt(np.maximum(square / max(n, 1) - (total / max(n, 1)) ** 2, 0.0))
