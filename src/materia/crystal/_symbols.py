"""Element symbols and numbers, through ASE's and pymatgen's tables."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from materia.errors import ElementError


@cache
def _tables() -> tuple[dict[str, int], list[str]]:
    from ase.data import chemical_symbols

    names = list(chemical_symbols)
    return {s: z for z, s in enumerate(names) if z > 0}, names


def atomic_number(name: str) -> int:
    """Atomic number of an element symbol.

    Raises:
        ElementError: there is no such element; the nearest symbols are named.
    """
    table, _ = _tables()
    try:
        return table[name]
    except (KeyError, TypeError):
        near = get_close_matches(str(name), table, n=3, cutoff=0.4)
        raise ElementError(
            f"unknown element {name!r}", remedy=f"did you mean {' or '.join(near)}?" if near else None
        ) from None


def symbol(number: int) -> str:
    """Element symbol of an atomic number."""
    _, names = _tables()
    if not 0 < number < len(names):
        raise ElementError(f"no element has atomic number {number}")
    return names[number]


@cache
def electronegativity(name: str) -> float:
    """Pauling electronegativity (pymatgen's table); elements without a value sort last."""
    import math
    import warnings

    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns of noble gases, which are expected here
        value = float(Element(name).X)
    return 9.0 if math.isnan(value) else value
