"""Charges that make a formula neutral with closed shells only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product

from materia.crystal import electronegativity
from materia.elements import closed_shell_charges

Charges = tuple[int, ...]


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
        cations = [electronegativity(s) for s, q in zip(species, charges, strict=True) if q > 0]
        anions = [electronegativity(s) for s, q in zip(species, charges, strict=True) if q < 0]
        if cations and anions and max(cations) < min(anions):
            yield charges


@cache
def likely_charges(species: tuple[str, ...], counts: tuple[int, ...]) -> Charges | None:
    """The balanced charges with the largest gap in electronegativity between cations and anions, if any."""
    best: tuple[float, Charges] | None = None
    for charges in balanced_charges(species, counts):
        cations = max(electronegativity(s) for s, q in zip(species, charges, strict=True) if q > 0)
        anions = min(electronegativity(s) for s, q in zip(species, charges, strict=True) if q < 0)
        if best is None or anions - cations > best[0]:
            best = (anions - cations, charges)
    return best[1] if best else None
