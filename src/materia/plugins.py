"""What installed packages offer under a group of entry points; read once, as reading takes longer than most uses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType


@cache
def installed(group: str) -> Mapping[str, EntryPoint]:
    """Name -> entry point, by name. What is installed after the first call is seen by the next process."""
    found = {point.name: point for point in entry_points(group=group)}
    return MappingProxyType(dict(sorted(found.items())))
