"""Supply risk from the concentration of production and reserves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from materia.crystal import atomic_number
from materia.elements import supply


@dataclass(frozen=True)
class SupplyPart:
    """What one element adds to a supply risk.

    Attributes:
        element: symbol.
        mass_fraction: of the compound.
        production, reserves: Herfindahl-Hirschman indices, 0 to 10000.
        contribution: to the compound's supply risk; the contributions add up to it.
    """

    element: str
    mass_fraction: float
    production: float
    reserves: float
    contribution: float


def supply_risk(composition: Mapping[str, int]) -> float:
    """Mass-weighted Herfindahl-Hirschman index, 0 (spread over many countries) to 1 (one country).

    R = sum_i w_i (HHI_production,i + HHI_reserves,i) / 2 / 10000, with mass fractions w_i; Gaultois et al.,
    Chem. Mater. 25, 2911 (2013), who keep the two indices apart. Above 0.25 a market counts as highly concentrated.

    Args:
        composition: atoms of each element.

    Raises:
        ElementError: an element has no index (hydrogen, most radioactive elements), or does not exist.
    """
    return float(supply_risks([composition])[0])


def supply_risks(compositions: Sequence[Mapping[str, int]]) -> NDArray[np.float64]:
    """(n,) supply risks; see :func:`supply_risk`."""
    symbols = sorted({s for c in compositions for s in c})
    column = {s: k for k, s in enumerate(symbols)}
    masses = np.zeros((len(compositions), len(symbols)))  # u
    for i, composition in enumerate(compositions):
        for s, n in composition.items():
            masses[i, column[s]] = n * _element(s)[0]
    risks = np.array([_element(s)[1] for s in symbols])
    weighted: NDArray[np.float64] = masses @ risks / masses.sum(axis=1)
    return weighted


def supply_parts(composition: Mapping[str, int]) -> list[SupplyPart]:
    """The supply risk element by element, in order of contribution, greatest first.

    Raises:
        ElementError: as :func:`supply_risk`.
    """
    whole = sum(n * _element(s)[0] for s, n in composition.items())
    parts = []
    for symbol, n in composition.items():
        mass, risk = _element(symbol)
        index, fraction = supply(symbol), n * mass / whole
        parts.append(SupplyPart(symbol, fraction, index.production, index.reserves, fraction * risk))
    return sorted(parts, key=lambda part: (-part.contribution, part.element))


@cache
def _element(symbol: str) -> tuple[float, float]:
    """(mass in u, risk)."""
    from ase.data import atomic_masses

    mass = float(atomic_masses[atomic_number(symbol)])
    index = supply(symbol)
    return mass, (index.production + index.reserves) / 2 / 10_000
