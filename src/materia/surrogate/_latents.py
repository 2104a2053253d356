"""Distance to what a network has learned from, in its own latent space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 5
MAX_POINTS = 2000  # of a large training set, a regular subset of this size is kept

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LatentIndex:
    """Training points in a network's latent space.

    Attributes:
        centre, scale: (d,) standardise a latent vector.
        points: (m, d) standardised latents of the training set.
        unit: median distance of a training point to its nearest others, in standardised units.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    points: NDArray[np.float32]
    unit: float

    @classmethod
    def of(cls, latents: NDArray[np.float32]) -> LatentIndex:
        """From the latents (n, d) of a training set."""
        centre = latents.mean(0)
        scale = latents.std(0) + 1e-3 * float(latents.std()) + 1e-12
        points = ((latents - centre) / scale).astype(np.float32)
        points = points[:: max(1, -(-len(points) // MAX_POINTS))]
        index = cls(centre.astype(np.float32), scale.astype(np.float32), points, 1.0)
        within = index._nearest(points, skip=1) if len(points) > 1 else np.ones(1)
        return cls(index.centre, index.scale, points, max(float(np.median(within)), 1e-6))

    def distance(self, latents: NDArray[np.float32]) -> Array:
        """(n,) mean distance to the nearest five training points; about 1 among the training data."""
        return self._nearest(((latents - self.centre) / self.scale).astype(np.float32)) / self.unit

    def _nearest(self, points: NDArray[np.float32], skip: int = 0) -> Array:
        from sklearn.neighbors import NearestNeighbors

        if len(points) == 0:
            return np.zeros(0)
        k = min(NEIGHBOURS + skip, len(self.points))
        distances, _ = NearestNeighbors(n_neighbors=k).fit(self.points).kneighbors(points)
        return np.asarray(distances[:, min(skip, k - 1) :].mean(1), dtype=np.float64)
