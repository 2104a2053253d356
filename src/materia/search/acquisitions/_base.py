"""What an acquisition sees and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np

from materia.errors import ConfigError
from materia.plugins import installed
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
        handicap: (n,) logarithm of what will be multiplied on afterwards (diversity, success, cost), -inf where a
            candidate cannot be chosen. An acquisition may answer with an upper bound where this proves that the
            candidate cannot come first.
        formulas: (n,) reduced formulas, where the caller knows them.
    """

    beliefs: Beliefs
    conditions: Conditions
    eligible: np.ndarray
    pending: tuple[int, ...]
    observed: Floats
    rng: np.random.Generator
    handicap: Floats | None = None
    formulas: Sequence[str] | None = None


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
    return list(installed(GROUP))


def load(name: str) -> Acquisition:
    """The acquisition installed under that name.

    Raises:
        ConfigError: there is none; the message lists those that are.
    """
    found = installed(GROUP)
    if name not in found:
        raise ConfigError(
            f"unknown acquisition {name!r}",
            where="search.acquisition",
            remedy=f"use one of: {', '.join(names())}",
        )
    return cast(Acquisition, found[name].load()())
