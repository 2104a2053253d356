"""Dated, cited tables per element: supply, abundance, charges, groups. Facts only, no scores.

``TOXIC``, ``SCARCE``, ``OPEN_SHELL`` and ``RADIOACTIVE`` are sets of symbols, read from their tables on first use.
"""

from __future__ import annotations

from materia.elements._groups import SCARCE_BELOW, Group, group, groups
from materia.elements._tables import (
    HHI_SOURCE,
    BondValence,
    Supply,
    bond_valence,
    closed_shell_charges,
    closed_shell_elements,
    crust_abundance,
    supply,
)

TOXIC: frozenset[str]
SCARCE: frozenset[str]
OPEN_SHELL: frozenset[str]
RADIOACTIVE: frozenset[str]

__all__ = [
    "HHI_SOURCE",
    "OPEN_SHELL",
    "RADIOACTIVE",
    "SCARCE",
    "SCARCE_BELOW",
    "TOXIC",
    "BondValence",
    "Group",
    "Supply",
    "bond_valence",
    "closed_shell_charges",
    "closed_shell_elements",
    "crust_abundance",
    "group",
    "groups",
    "supply",
]


def __getattr__(name: str) -> frozenset[str]:
    if name in {"TOXIC", "SCARCE", "OPEN_SHELL", "RADIOACTIVE"}:
        return frozenset(group(name.lower()).symbols)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
