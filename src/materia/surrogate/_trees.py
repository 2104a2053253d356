"""Trees beside a Gaussian process, fitted to the same labels, and how much either is to be believed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.surrogate._prior import Prior

FEATURES = 0.3  # share of what is told that is tried at a split
FLOOR = 0.1  # of the labels' standard deviation, added to the spread over the trees
LEAST = 5  # labels from which it shows which of the two errs less
YES_OR_NO = 2  # labels in a leaf, at least, of trees that are asked how likely something is
_SHARES = (np.arange(20) + 0.5) / 20

Floats = NDArray[np.float64]
Said = tuple[Floats, Floats]
"""(n,) mean and (n,) standard deviation."""


@dataclass(frozen=True)
class Trees:
    """Extremely randomised trees (P. Geurts, D. Ernst and L. Wehenkel, Machine Learning 63, 3 (2006)) of one quantity.

    Attributes:
        model: the fitted forest.
        floor: least standard deviation of what it says.
    """

    model: Any
    floor: float

    @classmethod
    def fitted(cls, x: Floats, values: Floats, seed: int, count: int) -> Trees:
        """To labels (k,) at rows x (k, d). The same rows and seed give the same trees."""
        return cls(_forest(count, seed).fit(x, values), _floor(values))

    @classmethod
    def of_yes_or_no(cls, x: Floats, yes: NDArray[np.bool_], seed: int, count: int) -> Trees:
        """To answers (k,) at rows x (k, d). Ask such trees for :meth:`chance`."""
        return cls(_forest(count, seed, min_samples_leaf=YES_OR_NO).fit(x, yes.astype(np.float64)), 0.0)

    def read(self, x: Floats) -> Said:
        """What they say of rows x (n, d): their mean, and their spread with the floor on top."""
        each = self._each(x)
        return each.mean(axis=0), each.std(axis=0) + self.floor

    def chance(self, x: Floats) -> Floats:
        """(n,) of a yes at rows x (n, d): the share of yes in the leaves they come to (a probability estimation tree
        each: F. Provost and P. Domingos, Machine Learning 52, 199 (2003)), and half of a tree for and against, as no
        number of trees makes anything certain."""
        each = self._each(x)
        return np.asarray((each.sum(axis=0) + 0.5) / (len(each) + 1))

    def _each(self, x: Floats) -> Floats:
        rows = x.astype(np.float32)
        return np.stack([tree.predict(rows, check_input=False) for tree in self.model.estimators_])


def out_of_bag(x: Floats, values: Floats, seed: int, count: int) -> Said:
    """What is said of each of the labels (k,) at rows x (k, d) by trees that were grown without it, each from a
    bootstrap sample (L. Breiman, Machine Learning 45, 5 (2001)); those few that are in every sample get the labels'
    mean and spread."""
    model = _forest(count, seed, bootstrap=True).fit(x, values)
    # scikit-learn's own oob_prediction_ is their mean alone, without the spread
    rows, said = x.astype(np.float32), np.full((count, len(values)), np.nan)
    for k, (tree, drawn) in enumerate(zip(model.estimators_, model.estimators_samples_, strict=True)):
        out = np.setdiff1d(np.arange(len(values)), drawn)
        if len(out):
            said[k, out] = tree.predict(rows[out], check_input=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows that are in every sample
        mean, std = np.nanmean(said, axis=0), np.nanstd(said, axis=0)
    never = np.isnan(mean)
    return np.where(never, values.mean(), mean), np.where(never, values.std(), std) + _floor(values)


def share_of_second(first: Said, second: Said, values: Floats) -> float:
    """How much the second of two is to be believed, from what both said of labels (k,) that they had not seen.

    The expected weight of the second in a mixture of both distributions, were every weight as likely beforehand (a
    Bayesian form of the stacking of Y. Yao, A. Vehtari, D. Simpson and A. Gelman, Bayesian Analysis 13, 917 (2018)).
    """
    one, other = (_log_density(values, said) for said in (first, second))
    inside = np.logaddexp(np.log1p(-_SHARES)[:, None] + one, np.log(_SHARES)[:, None] + other).sum(axis=1)
    likely = np.exp(inside - inside.max())
    return float((_SHARES * likely).sum() / likely.sum())


def share_of_trees(prior: Prior, x: Floats, values: Floats, seed: int, count: int) -> float:
    """How much trees are to be believed beside a process with this prior, by labels (k,) at rows x (k, d)."""
    if not count or len(values) < LEAST:
        return 0.0
    return share_of_second(prior.left_out(x, values), out_of_bag(x, values, seed, count), values)


def mixed(first: Said, second: Said, share: float) -> Said:
    """Mean and standard deviation of a mixture of two normal distributions, the second with that share."""
    (a, s), (b, t) = first, second
    variance = (1 - share) * s**2 + share * t**2 + share * (1 - share) * (a - b) ** 2
    return (1 - share) * a + share * b, np.sqrt(variance)


def _forest(count: int, seed: int, **options: Any) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(count, max_features=FEATURES, random_state=seed, n_jobs=1, **options)


def _floor(values: Floats) -> float:
    return FLOOR * max(float(values.std()), 1e-9)


def _log_density(values: Floats, said: Said) -> Floats:
    mean, std = said
    return np.asarray(-0.5 * ((values - mean) / std) ** 2 - np.log(std))
