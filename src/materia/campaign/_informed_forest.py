"""A forest that is told what a trained network says: the network's knowledge at the price of a forest."""

from __future__ import annotations

from typing import Any

import numpy as np

from materia.campaign._said_once import said_once
from materia.resources import resource
from materia.search.replay import KnownPool
from materia.search.replay.forest import ForestLearner
from materia.surrogate import Surrogate


class InformedForest(ForestLearner):
    """Trees on composition, cell, and a network's predictions and latent vectors, which are computed once.

    The network is not trained again: it knows what it knew before the first round, and the trees learn what that is
    worth for the quantities at hand. It must not have seen a label of the pool.

    Args:
        model: folder of the trained network, or ``base`` for the shipped weights; any quantities, the nearer to those
            looked for the better.
        device: of its predictions.
        **options: of :class:`~materia.search.replay.forest.ForestLearner`.
    """

    def __init__(self, model: str, device: str = "auto", **options: Any) -> None:
        super().__init__(**options)
        self.model = str(resource("data/weights/base")) if model == "base" else model
        self.device = device

    def matrix(self, pool: KnownPool) -> np.ndarray:
        return said_once(pool, ("forest", self.model, self.device, self.features), lambda: self._ask(pool))

    def _ask(self, pool: KnownPool) -> np.ndarray:
        found = Surrogate.load(self.model, device=self.device).predict(pool.crystals)
        rows = np.column_stack([super().matrix(pool), found.mean, found.std, found.embedding])
        return np.ascontiguousarray(rows, dtype=np.float32)
