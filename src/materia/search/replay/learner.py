"""What predicts a pool from the labels at hand; others are found by the entry point group ``materia.learners``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np

from materia.errors import ConfigError
from materia.plugins import installed
from materia.search._beliefs import Hurdle
from materia.search._gauss import Floats

if TYPE_CHECKING:
    from materia.search.replay._pool import KnownPool

GROUP = "materia.learners"


@dataclass(frozen=True)
class Learned:
    """What a learner says about all n candidates.

    Attributes:
        columns: quantity -> (mean (n,), std (n,)) in its unit.
        embedding: (n, d), or None.
        hurdles: more about quantities that many candidates have at their physical bound.
    """

    columns: dict[str, tuple[Floats, Floats]]
    embedding: np.ndarray | None = None
    hurdles: Mapping[str, Hurdle] = field(default_factory=dict)


@runtime_checkable
class Learner(Protocol):
    """Predicts the pool. Made anew for every run, with the strategy's ``options`` as keyword arguments."""

    def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, Floats], seed: int) -> Learned:
        """Train on the labels of some candidates and predict all.

        Args:
            pool: its structures and prototypes may be used, its values not.
            rows: (k,) labelled candidates, in the order they were computed.
            labels: quantity -> (k,) their values: all that may be learned from.
            seed: fixes every draw.
        """
        ...


class NoLearner:
    """Knows the mean and the spread of the labels at hand, and no more: for strategies that look at no prediction."""

    def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, Floats], seed: int) -> Learned:
        n = len(pool)
        return Learned({q: (np.full(n, v.mean()), np.full(n, max(float(v.std()), 1e-9))) for q, v in labels.items()})


def load(name: str, options: Mapping[str, Any]) -> Learner:
    """The learner installed under that name.

    Raises:
        ConfigError: there is none, or it does not take these options.
    """
    found = installed(GROUP)
    if name not in found:
        known = ", ".join(found)
        raise ConfigError(f"unknown learner {name!r}", where="strategies.learner", remedy=f"use one of: {known}")
    try:
        return cast(Learner, found[name].load()(**options))
    except TypeError as error:
        raise ConfigError(f"learner {name!r}: {error}", where="strategies.options") from None
