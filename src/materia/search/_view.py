"""The pool as the search sees it at one moment."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from materia.errors import SearchError
from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions
from materia.search._gauss import Floats

_CHUNK = 65536
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
        groups: name -> (n,) label; candidates with an equal label are of one family.
        cost: (n,) predicted cost in seconds.
        success: (n,) predicted probability in 0..1 that the calculation ends well.

    Raises:
        SearchError: a length that is not n, a cost that is not positive, a probability outside 0..1.
    """

    n: int
    conditions: Conditions | None = None
    beliefs: Beliefs | None = None
    eligible: np.ndarray | None = None
    embedding: np.ndarray | None = None
    groups: Mapping[str, Sequence[Hashable]] = field(default_factory=dict)
    cost: np.ndarray | None = None
    success: np.ndarray | None = None

    def __post_init__(self) -> None:
        given: dict[str, int | None] = {
            "beliefs": None if self.beliefs is None else self.beliefs.n,
            "eligible": None if self.eligible is None else len(self.eligible),
            "embedding": None if self.embedding is None else len(self.embedding),
            "cost": None if self.cost is None else len(self.cost),
            "success": None if self.success is None else len(self.success),
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
        result = {}
        for name, labels in self.groups.items():
            seen: dict[Hashable, int] = {}
            result[name] = np.array([seen.setdefault(label, len(seen)) for label in labels], dtype=np.int64)
        return result

    @cached_property
    def _standard(self) -> tuple[np.ndarray, float]:
        """(n, d) float32 embedding with unit variance per column, and the length scale of novelty."""
        if self.embedding is None:
            return np.zeros((self.n, 0), dtype=np.float32), 0.0
        raw = np.asarray(self.embedding, dtype=np.float64)
        good = np.all(np.isfinite(raw), axis=1)
        if not good.any():
            return np.zeros((self.n, 0), dtype=np.float32), 0.0
        scale = raw[good].std(axis=0)
        raw = np.where(good[:, None], (raw - raw[good].mean(axis=0)) / np.where(scale > 0, scale, 1.0), 0.0)
        some = raw[np.unique(np.linspace(0, self.n - 1, min(self.n, _SAMPLE)).astype(int))]
        distances = np.sqrt(((some[:, None] - some[None]) ** 2).sum(axis=-1))[np.triu_indices(len(some), 1)]
        return raw.astype(np.float32), _REACH * float(np.median(distances)) if len(distances) else 0.0

    def similarity(self, index: int) -> Floats:
        """(n,) closeness to one candidate in the embedding, exp(-d²/2ℓ²): 1 is the same, 0 is far."""
        points, length = self._standard
        if length == 0.0:
            return np.zeros(self.n)
        result = np.empty(self.n)
        for start in range(0, self.n, _CHUNK):
            delta = points[start : start + _CHUNK] - points[index]
            result[start : start + _CHUNK] = np.exp(-0.5 * (delta * delta).sum(axis=1) / length**2)
        return result
