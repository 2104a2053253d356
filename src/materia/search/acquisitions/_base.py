"""What an acquisition sees and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol, cast, runtime_checkable

import numpy as np

from materia.errors import ConfigError
from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions
from materia.search._gauss import Floats

GROUP = "materia.acquisitions"


@dataclass(frozen=True)
class Situation:
    """Everything that is known when a candidate is to be chosen.

    Attributes:
        beliefs: about all n candidates.
        conditions: what is wanted.
        eligible: (n,) bool; candidates that may be chosen.
        pending: rows chosen but not yet known, oldest first.
        observed: (k, m) losses of computed candidates that respect the constraints, objectives in written order.
        rng: seeded for this one choice.
    """

    beliefs: Beliefs
    conditions: Conditions
    eligible: np.ndarray
    pending: tuple[int, ...]
    observed: Floats
    rng: np.random.Generator


@runtime_checkable
class Acquisition(Protocol):
    """The value of computing each candidate next, as a product of named factors.

    Attributes:
        adjusted: whether diversity, cost and success may be multiplied on (False for honest opponents).
    """

    adjusted: bool

    def __call__(self, situation: Situation) -> Mapping[str, Floats]:
        """Factor's name -> (n,) natural logarithm of the factor; -inf is allowed, NaN and +inf are not."""
        ...


def names() -> list[str]:
    """Names of the installed acquisitions."""
    return sorted(entry_points(group=GROUP).names)


def load(name: str) -> Acquisition:
    """The acquisition installed under that name.

    Raises:
        ConfigError: there is none; the message lists those that are.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise ConfigError(
            f"unknown acquisition {name!r}",
            where="search.acquisition",
            remedy=f"use one of: {', '.join(names())}",
        )
    return cast(Acquisition, next(iter(found)).load()())
