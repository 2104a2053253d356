"""Calibrated standard deviations by conformal prediction on out-of-fold residuals.

Members predict the formulas that they have not seen. A local error scale is fitted to the absolute residuals of those
predictions; the quantile of residual over scale then sets the width (Vovk's cross-conformal prediction; the scale only
makes it sharper, the quantile makes it cover). Residual over scale is taken where the scale was fitted without the
formula, or the scale would look better than it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.surrogate._evidence import APART, DISTANCE
from materia.surrogate._folds import grouped_folds
from materia.surrogate._scale import LEAST, LinearScale, Scale, TreeScale, scale_from_json

COVERAGE = 0.9
Z90 = 1.6448536269514722  # a normal distribution has 90 % within this many standard deviations
MIN_RESIDUALS = 8  # fewer say too little: then the labels' own spread is quoted
MIN_SHAPED = 30  # fewer do not tell where errors are large
MIN_TREES = 300
FOLDS = 5
GUARD = 0.5  # of the difference between members: where they disagree by more than they err, that is the error
WORTH = 0.98  # a richer scale is taken where intervals shrink at least to this

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Standard deviation of one quantity's error, as a function of what is known at prediction time.

    ``std = max(factor * scale(features) * max(1, distance / reach), difference between members / 2)``

    Attributes:
        scale: expected size of the error.
        reach: latent distance up to which it was fitted; beyond it the scale grows in proportion.
        factor: conformal width over 1.645, and over what several members err less than those that were judged.
        n: residuals it was fitted on.
    """

    scale: Scale
    reach: float
    factor: float
    n: int

    @classmethod
    def fit(
        cls,
        residuals: Array,
        features: Array,
        groups: Sequence[str],
        fallback: float,
        *,
        gain: float = 1.0,
        sure: bool = False,
    ) -> Calibration:
        """Fit to out-of-fold residuals (n,) with features (n, 4 + T) of ``_evidence``.

        Of a constant scale, a linear one and one of boosted trees, that with the narrowest intervals on formulas left
        out of its own fit is taken; the trees only where there are some hundred residuals.

        Args:
            groups: (n) formulas.
            fallback: standard deviation to quote when there are too few residuals (the labels' spread).
            gain: what the ensemble errs over what those members err that the residuals are of
                (:func:`ensemble_gain`).
            sure: the spread is a standard deviation already: it is one of the scales that are tried.
        """
        n, size = len(residuals), np.abs(residuals)
        if n < MIN_RESIDUALS:
            return cls(LinearScale(max(fallback, 1e-9)), math.inf, 1.0, n)
        reach = (float(np.quantile(features[:, DISTANCE], 0.99)) if n >= MIN_SHAPED else 0.0) or math.inf
        folds = grouped_folds(groups, FOLDS, seed=0)
        kinds: list[Callable[[Array, Array], Scale]] = [_constant, _spread] if sure else [_constant]
        if n >= MIN_SHAPED and len(set(groups)) >= FOLDS:
            kinds.append(LinearScale.fit)
        if n >= MIN_TREES:
            kinds.append(TreeScale.fit)
        best, narrowest = cls(_constant(size, features), reach, 1.0, n), math.inf
        for kind in kinds:
            local = np.empty(n)
            for k in range(FOLDS):
                here = folds == k
                if here.any() and not here.all():
                    local[here] = cls(kind(size[~here], features[~here]), reach, 1.0, n)._local(features[here])
                elif here.all():
                    local[here] = cls(kind(size, features), reach, 1.0, n)._local(features)
            covered = size <= Z90 * GUARD * features[:, APART]
            factor = conformal_quantile(np.where(covered, 0.0, size / local))
            if (width := factor * float(local.mean())) < WORTH * narrowest:
                best, narrowest = cls(kind(size, features), reach, factor / Z90 * gain, n), width
        return best

    def std(self, features: Array) -> Array:
        """(n,) standard deviation for features (n, 4 + T)."""
        return np.maximum(self.factor * self._local(features), GUARD * features[:, APART])

    def _local(self, features: Array) -> Array:
        scale: Array = self.scale.of(features) * np.maximum(1.0, features[:, DISTANCE] / self.reach)
        return scale

    def to_json(self) -> dict[str, Any]:
        reach = self.reach if math.isfinite(self.reach) else None
        return {"scale": self.scale.to_json(), "reach": reach, "factor": self.factor, "n": self.n}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Calibration:
        """What :meth:`to_json` wrote; older models have a linear scale without its name."""
        rest = dict(entries)
        factor, n = float(rest.pop("factor")), int(rest.pop("n"))
        if "scale" not in rest:
            return cls(LinearScale(**rest), math.inf, factor, n)
        reach = rest["reach"]
        return cls(scale_from_json(rest["scale"]), math.inf if reach is None else float(reach), factor, n)


def ensemble_gain(residuals: Array, features: Array, members: NDArray[np.int64], ensemble: int) -> float:
    """What the mean of a whole ensemble errs over what the mean of fewer members does, root mean square.

    An error has a part that all members share and a part of each member's own, of variance v, which the mean of m
    members has an m-th of. Two members that have not seen a structure differ by 2 v on average. Where each residual is
    of one member alone, v cannot be told, and 1 is returned: the intervals are then somewhat too wide.

    Args:
        residuals: (n,) of the mean of the members that had not seen the structure.
        features: (n, 4 + T) of ``_evidence``.
        members: (n,) how many those were.
        ensemble: members in all.
    """
    several = members > 1
    if several.sum() < MIN_RESIDUALS:
        return 1.0
    own = _clipped(features[several, APART] ** 2).mean() / 2
    error = _clipped(residuals[several] ** 2).mean()
    gain = own * float((1 / members[several]).mean() - 1 / ensemble) / (error + 1e-30)
    return math.sqrt(min(1.0, max(0.3, 1 - gain)))


def conformal_quantile(scores: Array, coverage: float = COVERAGE) -> float:
    """The smallest bound that holds ``coverage`` of exchangeable scores, with the finite-sample correction.

    With too few scores to say, the largest of them times 1.5.
    """
    n = len(scores)
    rank = math.ceil((n + 1) * coverage)
    if rank > n:
        return 1.5 * float(scores.max())
    return float(np.sort(scores)[rank - 1])


def cross_inside(
    residuals: Array, features: Array, groups: Sequence[str], fallback: float, *, sure: bool = False
) -> NDArray[np.bool_] | None:
    """(n,) whether each residual is inside the 90 % interval, each fifth of the formulas calibrated on the others.

    None with fewer residuals than a calibration needs.
    """
    if len(residuals) < 2 * MIN_RESIDUALS or len(set(groups)) < 2:
        return None
    folds, names = grouped_folds(groups, FOLDS, seed=1), np.asarray(groups, dtype=str)
    inside = np.zeros(len(residuals), dtype=bool)
    for k in set(folds.tolist()):
        rest, here = folds != k, folds == k
        fitted = Calibration.fit(residuals[rest], features[rest], names[rest].tolist(), fallback, sure=sure)
        std = fitted.std(features[here])
        inside[here] = np.abs(residuals[here]) <= Z90 * std
    return inside


def _constant(size: Array, features: Array) -> Scale:
    return LinearScale(float(size.mean()) + 1e-12)


def _spread(size: Array, features: Array) -> Scale:
    return LinearScale(0.0, spread=1.0, floor=LEAST * float(size.mean()) + 1e-12)


def _clipped(squares: Array) -> Array:
    """Squares with the largest twentieth cut off: a few wild ones would rule the mean."""
    return np.minimum(squares, np.quantile(squares, 0.95))
