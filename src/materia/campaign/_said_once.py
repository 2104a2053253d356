"""What networks say of a frozen pool is asked once a process, however many runs of a replay want it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from materia.search.replay import KnownPool

T = TypeVar("T")

_SAID: WeakKeyDictionary[KnownPool, dict[Hashable, Any]] = WeakKeyDictionary()


def said_once(pool: KnownPool, what: Hashable, ask: Callable[[], T]) -> T:
    """The answer of the first call for this pool and ``what``; it goes when the pool does, and must not hold it.

    Args:
        what: says who is asked and how. Weights that change in the same folder while the process lives are not noticed.
    """
    said: dict[Hashable, T] = _SAID.setdefault(pool, {})
    if what not in said:
        said[what] = ask()
    return said[what]
