"""Several processes (MPI ranks) that compute one job: how many are of use, who does what, and how they talk."""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import dataclass
from typing import Final, Protocol

RANKS: Final = "MATERIA_RANKS"
"""Environment variable: ranks the job was started on (set by ``compute``)."""
LAUNCHER: Final = "MATERIA_LAUNCHER"
"""Environment variable: what starts the ranks of an engine that is a program of its own (set by the worker)."""


class World(Protocol):
    """The ranks of this job, as seen by one of them."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def barrier(self) -> None: ...

    def sum_scalar(self, value: float) -> float:
        """Sum over all ranks, known to each."""
        ...

    def abort(self, code: int) -> None:
        """End all ranks at once."""
        ...


class _Alone:
    """One process, which needs no MPI."""

    rank, size = 0, 1

    def barrier(self) -> None:
        pass

    def sum_scalar(self, value: float) -> float:
        return value

    def abort(self, code: int) -> None:
        raise SystemExit(code)


ALONE: Final[World] = _Alone()


def ranks_wanted() -> int:
    """How many ranks this job was to be started on."""
    return int(os.environ.get(RANKS, "1"))


def launcher_words() -> list[str]:
    """The command that starts a program on all ranks of this job, to be put before it; empty for one rank."""
    return shlex.split(os.environ.get(LAUNCHER, ""))


@dataclass(frozen=True)
class Layout:
    """Groups of ranks: ``kpoints`` groups share out the k-points, the ``shares`` ranks of each its plane waves."""

    kpoints: int
    shares: int


def layout(n_kpoints: int, ranks: int) -> Layout:
    """K-points first, since they hardly talk to each other: the largest number of groups, no group without a point.

    Args:
        n_kpoints: irreducible ones, at least 1.
        ranks: at least 1; the product of both numbers.
    """
    groups = max(g for g in range(1, min(n_kpoints, ranks) + 1) if ranks % g == 0)
    return Layout(groups, ranks // groups)


def useful_ranks(n_kpoints: int, most: int, shares: int = 1) -> int:
    """Ranks that shorten a calculation, at most ``most``.

    Up to one per k-point: the fewest that leave none with more points than ``most`` ranks would. Beyond that, whole
    multiples of the k-points, with at most ``shares`` ranks for each.
    """
    if most <= n_kpoints:
        return math.ceil(n_kpoints / math.ceil(n_kpoints / most))
    return n_kpoints * max(1, min(most // n_kpoints, shares))
