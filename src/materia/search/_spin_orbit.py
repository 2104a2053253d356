"""How much spin-orbit coupling will take from a gap, told from the elements alone: a rule for deciding, no result.

Where the valence edge is made of an anion's p shell, its upper states rise by a third of the shell's splitting, which
grows with a power of the atomic number. Prefactor and power are those of the project's own calculations with Te
(0.30 to 0.34 eV in BeTe, MgTe, ZnTe), As (0.07 to 0.10 eV), P and S (0.01 to 0.03 eV), see
``experiments/benchmarks/dft_reference``. Conduction edges of Tl, Pb and Bi fall by some tenths of an eV more (PbTe: by
0.65 eV in all), how much depends on the crystal; that is mostly uncertainty here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from materia.search._gauss import Floats

_TELLURIUM, _POWER = 0.32, 2.5  # eV, and the power of Z / 52
_ANION_SPREAD = 0.3  # of the anion's part
_SMALLEST = 0.02  # eV
_HEAVY_P, _HEAVY_D = (81, 82, 83), range(72, 81)  # atomic numbers: Tl to Bi, Hf to Hg
_HEAVY_P_MEAN, _HEAVY_P_SPREAD, _HEAVY_D_SPREAD = 0.3, 0.3, 0.1  # eV


def spin_orbit_closing(compositions: Sequence[Mapping[str, float]]) -> tuple[Floats, Floats]:
    """(n,) eV that the gap is expected to lose, and (n,) eV of uncertainty.

    Args:
        compositions: symbol -> amount.
    """
    found = np.array([_closing(frozenset(one)) for one in compositions], dtype=np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


@cache
def _closing(symbols: frozenset[str]) -> tuple[float, float]:
    from pymatgen.core import Element

    elements = sorted((Element(symbol) for symbol in symbols), key=lambda e: (e.X, e.Z))
    anion, cations = elements[-1], elements[:-1]
    lost = _TELLURIUM * (anion.Z / 52) ** _POWER
    spread = np.hypot(_SMALLEST, _ANION_SPREAD * lost)
    if any(e.Z in _HEAVY_P for e in cations):
        lost, spread = lost + _HEAVY_P_MEAN, np.hypot(spread, _HEAVY_P_SPREAD)
    elif any(e.Z in _HEAVY_D for e in cations):
        spread = np.hypot(spread, _HEAVY_D_SPREAD)
    return float(lost), float(spread)
