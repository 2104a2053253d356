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


def drift(
    record: Sequence[Mapping[str, Any]],
    indices: Sequence[LatentIndex],
    embedding: NDArray[np.float32],
    groups: Sequence[str],
) -> Drift:
    """Compare a pool with the formulas left out in training.

    Args:
        record: by member, of :func:`unseen_distances`.
        indices: of the members, as many as the record has.
        embedding: (n, M d) latent vectors of the pool, one block per member.
        groups: (n) formulas of the pool.
    """
    n = len(set(groups))
    usable = [k for k, unseen in enumerate(record) if unseen["n"] >= MIN_FORMULAS]
    if n < MIN_FORMULAS or not usable:
        return Drift(math.nan, 1.0, False, n)
    width = embedding.shape[1] // len(indices)
    ranks = []
    for k in usable:
        distance = per_group(indices[k].distance(embedding[:, k * width : (k + 1) * width]), groups)
        ranks.append(np.interp(distance, record[k]["quantiles"], np.linspace(0, 1, KEPT)))
    shift = float(np.mean(ranks))
    calibrated = sum(int(record[k]["n"]) for k in usable)  # folds do not overlap: they count together
    spread = math.sqrt((1 / n + 1 / calibrated) / 12)
    p_value = 0.5 * math.erfc((shift - 0.5) / spread / math.sqrt(2))
    return Drift(shift, p_value, p_value < FALSE_ALARM_RATE, n)


def per_group(values: Array, groups: Sequence[str]) -> Array:
    """Mean of the values (n,) of each group, in order of the groups' names."""
    _, home = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    counts = np.bincount(home) if len(home) else np.zeros(0)
    return np.asarray(np.bincount(home, weights=values) / counts if len(home) else values, dtype=np.float64)
