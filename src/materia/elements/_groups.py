"""Named groups of elements that a campaign may leave out, each with its rule and source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType

from materia.elements._tables import _abundance_table, closed_shell_elements
from materia.errors import ElementError
from materia.resources import resource

SCARCE_BELOW = 1.0  # mg/kg of the Earth's crust; silver has 0.075, indium 0.25, tin 2.3, gallium 19

# d and f blocks: Sc-Zn, Y-Cd, La-Hg, Ac-Cn
_TRANSITION = (*range(21, 31), *range(39, 49), *range(57, 81), *range(89, 113))


@dataclass(frozen=True)
class Group:
    """A set of elements and why they are in it.

    Attributes:
        name: as written in campaign files.
        symbols: symbol -> reason.
        rule: what puts an element in the group.
        source: where the facts come from.
        date: state of the facts, ISO.
    """

    name: str
    symbols: Mapping[str, str]
    rule: str
    source: str
    date: str


@cache
def groups() -> Mapping[str, Group]:
    """All groups by name: toxic, radioactive, noble_gas, scarce, open_shell."""
    doc = json.loads(resource("data/elements/groups.json").read_text())
    found = {
        name: Group(name, MappingProxyType(g["symbols"]), g["rule"], g["source"], g["date"]) for name, g in doc.items()
    }
    found["scarce"] = _scarce()
    found["open_shell"] = _open_shell()
    return MappingProxyType(found)


def _scarce() -> Group:
    from ase.data import chemical_symbols

    table = _abundance_table()
    reasons = {}
    for symbol in chemical_symbols[1:]:
        if symbol not in table:
            reasons[symbol] = "no measurable abundance"
        elif table[symbol] < SCARCE_BELOW:
            reasons[symbol] = f"{table[symbol]:g} mg/kg of the crust"
    return Group(
        "scarce",
        MappingProxyType(reasons),
        f"Less than {SCARCE_BELOW:g} mg/kg of the Earth's crust.",
        "CRC Handbook of Chemistry and Physics, through mendeleev 1.3.0 (data/elements/crust_abundance.csv)",
        "2026-11-22",
    )


def _open_shell() -> Group:
    from ase.data import chemical_symbols

    closed = set(closed_shell_elements())
    reasons = {
        chemical_symbols[z]: "no common ion with an empty or full d and f shell"
        for z in _TRANSITION
        if chemical_symbols[z] not in closed
    }
    return Group(
        "open_shell",
        MappingProxyType(reasons),
        "Elements of the d and f blocks without a common closed-shell ion (data/elements/oxidation_states.csv). "
        "A closed-shell calculation of their compounds is wrong or at best one of several magnetic states.",
        "Greenwood & Earnshaw, Chemistry of the Elements, 2nd ed. (1997)",
        "2026-11-22",
    )


def group(name: str) -> Group:
    """The group of that name.

    Raises:
        ElementError: there is none; the message names those there are.
    """
    known = groups()
    try:
        return known[name]
    except KeyError:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ElementError(f"unknown group of elements {name!r}", remedy=f"{hint}groups: {', '.join(known)}") from None
