"""The opponent to beat: a forest on composition and on what is known of the cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from materia.errors import ConfigError
from materia.search._features import COMPOSITION
from materia.search._gauss import Floats
from materia.search.replay._pool import KnownPool
from materia.search.replay.learner import Learned


class ForestLearner:
    """Extremely randomised trees (Geurts, Ernst & Wehenkel 2006), one forest for all quantities.

    The spread over the trees, and on top of it a share of the labels' own, is taken as the uncertainty. Splits weigh
    the quantities by their variances in units of the labels' own, so that none is drowned.

    Args:
        features: ``composition``, or ``cell`` for composition, volume per atom, atoms in the cell and space group.
        trees: of the forest.
        floor: share of the labels' standard deviation that is added to the spread over the trees.
        max_features: share of the features tried at a split.
    """

    def __init__(
        self,
        features: Literal["composition", "cell"] = "cell",
        trees: int = 40,
        floor: float = 0.1,
        max_features: float = 0.3,
    ) -> None:
        if features not in ("composition", "cell"):
            raise ConfigError(f"unknown features {features!r}", where="options.features", remedy="composition or cell")
        self.features, self.trees, self.floor, self.max_features = features, trees, floor, max_features

    def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, Floats], seed: int) -> Learned:
        from sklearn.ensemble import ExtraTreesRegressor

        x = self.matrix(pool)
        y = np.column_stack(list(labels.values()))
        scale = np.maximum(y.std(axis=0), 1e-9)
        model = ExtraTreesRegressor(self.trees, max_features=self.max_features, random_state=seed, n_jobs=1)
        model.fit(x[rows], y[:, 0] / scale if y.shape[1] == 1 else y / scale)
        each = np.stack([tree.predict(x, check_input=False).reshape(len(x), -1) for tree in model.estimators_]) * scale
        mean, std = each.mean(axis=0), each.std(axis=0) + self.floor * scale
        return Learned({name: (mean[:, j], std[:, j]) for j, name in enumerate(labels)})

    def matrix(self, pool: KnownPool) -> np.ndarray:
        """(n, d) float32: what it is told of the candidates."""
        return pool.described if self.features == "cell" else np.ascontiguousarray(pool.described[:, :COMPOSITION])
