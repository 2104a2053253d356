"""Charges that make a formula neutral with closed shells only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product

from materia.crystal import electronegativity
from materia.elements import closed_shell_charges

Charges = tuple[int, ...]

# pymatgen's Pauling values for lead and thallium are those of Pb4+ and Tl3+; others: Allred,
# J. Inorg. Nucl. Chem. 17, 215 (1961)
_OF_ION = {("Pb", 2): 1.87, ("Tl", 1): 1.62}


def ion_electronegativity(symbol: str, charge: int) -> float:
    """Pauling electronegativity of an element at a charge; the element's own where no other is known."""
    return _OF_ION.get((symbol, charge), electronegativity(symbol))


def balanced_charges(
    species: Sequence[str],
    counts: Sequence[int],
    extra: Mapping[str, Sequence[int]] | None = None,
) -> Iterator[Charges]:
    """Charge of each species such that the sum over the cell is zero.

    Only closed-shell charges count, one charge per species, and every cation must be less electronegative (Pauling)
    than every anion.

    Args:
        species: distinct symbols.
        counts: atoms of each in the cell.
        extra: further charges that a structure type makes closed-shell (Mo4+ in a trigonal prism).
    """
    options = [closed_shell_charges(s) + tuple((extra or {}).get(s, ())) for s in species]
    for charges in product(*options):
        if sum(q * n for q, n in zip(charges, counts, strict=True)) != 0:
            continue
        cations, anions = _by_sign(species, charges)
        if cations and anions and max(cations) < min(anions):
            yield charges


@cache
def likely_charges(species: tuple[str, ...], counts: tuple[int, ...]) -> Charges | None:
    """The balanced charges with the largest gap in electronegativity between cations and anions, if any."""
    best: tuple[float, Charges] | None = None
    for charges in balanced_charges(species, counts):
        cations, anions = _by_sign(species, charges)
        gap = min(anions) - max(cations)
        if best is None or gap > best[0]:
            best = (gap, charges)
    return best[1] if best else None


def _by_sign(species: Sequence[str], charges: Charges) -> tuple[list[float], list[float]]:
    values = [(q, ion_electronegativity(s, q)) for s, q in zip(species, charges, strict=True)]
    return [x for q, x in values if q > 0], [x for q, x in values if q < 0]
