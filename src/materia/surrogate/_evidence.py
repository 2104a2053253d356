"""What is known about the error of a prediction: at prediction time, and for labels that members have not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from materia.quantities import Form, Quantity
from materia.surrogate._layout import Layout

DISTANCE, SPREAD, APART, HEIGHT = range(4)  # the leading features; figures of all quantities follow

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What some members of an ensemble say of n structures.

    Attributes:
        columns: (n, W) learned columns (``_layout``), mean over the members.
        figures: (n, T) figures of those columns.
        spread: (n, T) of the replicas within a member, root mean square over the members.
        apart: (n, T) root mean square difference between two members' figures; 0 of a single member.
        distance: (n,) latent distance to the training data, mean over the members.
        members: (n,) how many they are.
    """

    columns: Array
    figures: Array
    spread: Array
    apart: Array
    distance: Array
    members: NDArray[np.int64]

    @classmethod
    def of(cls, columns: Array, spreads: Array, distances: Array, layout: Layout) -> Evidence:
        """Of members' columns (M, n, W), spreads of their replicas (M, n, W) and latent distances (M, n)."""
        each = layout.figures(columns)
        mean, m = columns.mean(0), len(columns)
        # the mean over pairs of (a - b)^2 is twice the unbiased variance
        apart = each.std(0, ddof=1) * math.sqrt(2) if m > 1 else np.zeros_like(each[0])
        spread = layout.spreads(np.sqrt((spreads**2).mean(0)))
        count = np.full(len(mean), m)
        return cls(mean, layout.figures(mean), spread, apart, distances.mean(0), count)

    @classmethod
    def joined(cls, parts: Sequence[Evidence], layout: Layout) -> Evidence:
        """Of several lots of structures, one after the other."""
        empty = np.zeros((1, 0, layout.width))
        whole = [cls.of(empty, empty, np.zeros((1, 0)), layout), *parts]
        return cls(*(np.concatenate([getattr(part, f.name) for part in whole]) for f in fields(cls)))

    def of_rows(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Evidence:
        """That of some of the structures."""
        return Evidence(*(getattr(self, f.name)[rows] for f in fields(self)))

    def features(self, target: Quantity, j: int) -> Array:
        """(n, 4 + T) what a calibration of quantity j knows: latent distance, spread, difference between members, a
        scalar's height above its physical bound, and all figures."""
        lower = target.lower if target.form is Form.SCALAR else None
        height = np.zeros(len(self.figures)) if lower is None else np.maximum(self.figures[:, j] - lower, 0.0)
        return np.column_stack([self.distance, self.spread[:, j], self.apart[:, j], height, self.figures])
