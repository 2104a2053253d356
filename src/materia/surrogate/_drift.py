"""Whether a pool drifts from what the intervals were calibrated on: a rank test on latent distances, and its alarm.

Conformal intervals hold for structures drawn like the calibration data. A pool of another chemistry lies farther from
the training data in the networks' latent spaces than the formulas that each network was calibrated on, which it had
not seen either. The Mann-Whitney statistic between both sets of distances tells (H. B. Mann and D. R. Whitney, Ann.
Math. Statist. 18, 50 (1947)), one value per formula, since polymorphs are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.surrogate._latents import LatentIndex

FALSE_ALARM_RATE = 0.01
BEYOND = 1e6  # distance of what the training data know nothing of, such as an element they have not
KEPT = 201  # quantiles of the distances that the card holds
MIN_FORMULAS = 8  # fewer, on either side, say nothing

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """How far a pool has drifted.

    Attributes:
        shift: probability that a structure of the pool lies farther from the training data than an unseen formula of
            the training set's kind does: 0.5 where they are alike, 1 where the whole pool lies beyond; NaN if it
            cannot be told.
        p_value: probability of such a shift or a larger one in a pool that has not drifted.
        alarm: whether the p-value is below :data:`FALSE_ALARM_RATE`: the intervals may then be too narrow.
        n: formulas of the pool.
    """

    shift: float
    p_value: float
    alarm: bool
    n: int

    def to_json(self) -> dict[str, Any]:
        shift = None if math.isnan(self.shift) else round(self.shift, 4)
        return {"shift": shift, "p_value": self.p_value, "alarm": self.alarm, "n": self.n}


def unseen_distances(distances: Array | Sequence[float], groups: Sequence[str]) -> dict[str, Any]:
    """What the card keeps of a member's distances to the formulas it has not seen.

    Args:
        distances: (n) of its left-out structures.
        groups: (n) their formulas.
    """
    values = per_group(np.asarray(distances, dtype=np.float64), groups)
    quantiles = np.quantile(values, np.linspace(0, 1, KEPT)).round(5).tolist() if len(values) else []
    return {"n": len(values), "quantiles": quantiles}


def calibrated(record: Sequence[Mapping[str, Any]]) -> int:
    """How many formulas the distances of a card's record (:func:`unseen_distances` of every member) come from."""
    return sum(int(unseen["n"]) for unseen in record if unseen["n"] >= MIN_FORMULAS)


def remoteness(
    record: Sequence[Mapping[str, Any]], indices: Sequence[LatentIndex], embedding: NDArray[np.float32]
) -> Array:
    """(n,) share of the left-out formulas that are nearer to the training data: 0 to 1, NaN where it cannot be told.

    Args:
        record: of the members, by :func:`unseen_distances`.
        indices: of the members.
        embedding: (n, M d) latent vectors, one block per member.
    """
    usable = [k for k, unseen in enumerate(record) if unseen["n"] >= MIN_FORMULAS]
    if not usable:
        return np.full(len(embedding), np.nan)
    width = embedding.shape[1] // len(indices)
    shares = np.linspace(0, 1, KEPT)
    ranks = [
        np.interp(indices[k].distance(embedding[:, k * width : (k + 1) * width]), record[k]["quantiles"], shares)
        for k in usable
    ]
    return np.asarray(np.mean(ranks, axis=0), dtype=np.float64)


def drift(remote: Array, groups: Sequence[str], n_calibrated: int) -> Drift:
    """Compare a pool with the formulas left out in training.

    Args:
        remote: (n,) of :func:`remoteness`.
        groups: (n) formulas of the pool.
        n_calibrated: formulas behind the ranks (:func:`calibrated`).
    """
    n = len(set(groups))
    if n < MIN_FORMULAS or n_calibrated == 0 or np.isnan(remote).any():
        return Drift(math.nan, 1.0, False, n)
    shift = float(per_group(remote, groups).mean())
    spread = math.sqrt((1 / n + 1 / n_calibrated) / 12)
    p_value = 0.5 * math.erfc((shift - 0.5) / spread / math.sqrt(2))
    return Drift(shift, p_value, p_value < FALSE_ALARM_RATE, n)


def per_group(values: Array, groups: Sequence[str]) -> Array:
    """Mean of the values (n,) of each group, in order of the groups' names."""
    _, home = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    counts = np.bincount(home) if len(home) else np.zeros(0)
    return np.asarray(np.bincount(home, weights=values) / counts if len(home) else values, dtype=np.float64)
