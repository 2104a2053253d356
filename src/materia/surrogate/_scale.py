"""How large an error is to be expected where: the local scale of an interval, learned from out-of-fold residuals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

OWN = 4  # leading features that tell of the error itself: distance, spread, difference between members, height
LEAST = 0.1  # of the mean error: no scale falls below
TREES, LEAVES, RATE, SHARE, LEAF = 60, 8, 0.08, 0.7, 20  # boosting: small steps of small trees, on parts of the rows

Array = NDArray[np.float64]


class Scale(Protocol):
    """A positive function of the features (n, 4 + T) of ``_evidence``."""

    def of(self, features: Array) -> Array:
        """(n,) expected size of the error."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class LinearScale:
    """``max(floor, constant + distance * d + spread * s + apart * a + height * h)``, coefficients not negative.

    Attributes:
        constant, distance, spread, apart, height: of 1, the latent distance, the spread of the replicas, the
            difference between members, and the prediction's height above a physical bound.
        floor: least scale.
    """

    constant: float
    distance: float = 0.0
    spread: float = 0.0
    apart: float = 0.0
    height: float = 0.0
    floor: float = 0.0

    @classmethod
    def fit(cls, size: Array, features: Array) -> LinearScale:
        """Least squares on absolute residuals (n,), coefficients not negative and shrunk alike."""
        from scipy.optimize import nnls

        n = len(size)
        target = np.minimum(size, np.quantile(size, 0.95))  # a few large errors must not set the shape
        unit = features[:, :OWN].mean(0) + 1e-12
        design = np.column_stack([np.ones(n), features[:, :OWN] / unit])
        ridge = math.sqrt(n) * 0.1 * np.eye(1 + OWN)  # no feature wins by chance
        found, _ = nnls(np.vstack([design, ridge]), np.concatenate([target, np.zeros(1 + OWN)]))
        distance, spread, apart, height = (found[1:] / unit).tolist()
        return cls(float(found[0]), distance, spread, apart, height, LEAST * float(size.mean()) + 1e-12)

    def of(self, features: Array) -> Array:
        slopes = np.array([self.distance, self.spread, self.apart, self.height])
        scale: Array = np.maximum(self.floor, self.constant + features[:, :OWN] @ slopes)
        return scale

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TreeScale:
    """``exp(base + sum of trees)``, gradient-boosted regression trees (J. H. Friedman, Ann. Statist. 29, 1189 (2001)).

    Attributes:
        base: logarithm of the scale before the first tree.
        feature, left, right: (nodes) of all trees, one after the other; what a node asks for, and its children. Of a
            leaf, ``left`` is -1.
        threshold: (nodes) goes left where the feature is not above it; of a leaf its value.
        roots: (trees) their first nodes.
    """

    base: float
    feature: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    threshold: Array
    roots: NDArray[np.int64]

    @classmethod
    def fit(cls, size: Array, features: Array) -> TreeScale:
        """Boost the 90 % quantile of the logarithm of absolute residuals (n,), raised by a hundredth of their mean."""
        from sklearn.ensemble import GradientBoostingRegressor

        target = np.log(size + 0.01 * float(size.mean()) + 1e-12)
        boosted = GradientBoostingRegressor(
            loss="quantile",
            alpha=0.9,
            n_estimators=TREES,
            learning_rate=RATE,
            subsample=SHARE,
            max_leaf_nodes=LEAVES,
            min_samples_leaf=LEAF,
            max_features=0.5,
            random_state=0,
            init="zero",
        )
        base = float(target.mean())
        boosted.fit(_logarithms(features).astype(np.float32), target - base)
        trees = [estimator.tree_ for estimator in boosted.estimators_[:, 0]]
        ends = np.cumsum([0, *(tree.node_count for tree in trees)])
        leaf = np.concatenate([tree.children_left < 0 for tree in trees])
        left = np.concatenate([tree.children_left + first for tree, first in zip(trees, ends[:-1], strict=True)])
        right = np.concatenate([tree.children_right + first for tree, first in zip(trees, ends[:-1], strict=True)])
        value = RATE * np.concatenate([tree.value[:, 0, 0] for tree in trees])
        threshold = np.where(leaf, value, np.concatenate([tree.threshold for tree in trees]))
        return cls(
            base=base,
            feature=np.where(leaf, 0, np.concatenate([tree.feature for tree in trees])),
            left=np.where(leaf, -1, left),
            right=np.where(leaf, -1, right),
            threshold=threshold,
            roots=ends[:-1],
        )

    def of(self, features: Array) -> Array:
        asked = _logarithms(features).astype(np.float32).astype(np.float64)  # as the trees were grown
        total = np.full(len(asked), self.base)
        rows = np.arange(len(asked))
        for root in self.roots:
            node = np.full(len(asked), root)
            while (inner := self.left[node] >= 0).any():
                low = asked[rows, self.feature[node]] <= self.threshold[node]
                node = np.where(inner, np.where(low, self.left[node], self.right[node]), node)
            total += self.threshold[node]
        scale: Array = np.exp(total)
        return scale

    def to_json(self) -> dict[str, Any]:
        arrays = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return {"base": self.base, **arrays}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> TreeScale:
        whole = {name: np.array(entries[name], dtype=np.int64) for name in ("feature", "left", "right", "roots")}
        own, inner = np.arange(len(whole["feature"])), whole["left"] >= 0
        for name in ("left", "right"):  # children come after their parents, so that every walk ends
            if ((whole[name] <= own) & inner).any() or whole[name].max(initial=-1) >= len(own):
                raise KeyError(f"{name}: the nodes of a calibration's trees do not belong together")
        return cls(float(entries["base"]), threshold=np.array(entries["threshold"], dtype=np.float64), **whole)


def scale_from_json(entries: Mapping[str, Any]) -> Scale:
    """The scale that ``to_json`` wrote."""
    return TreeScale.from_json(entries) if "roots" in entries else LinearScale(**entries)


def _logarithms(features: Array) -> Array:
    """The features with those that are lengths on a logarithmic axis, where trees cut more evenly."""
    return np.hstack([np.log(features[:, :3] + 1e-6), features[:, 3:]])
