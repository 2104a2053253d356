"""The opponent that knows zero labels and the rules of the trade for absorbers."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from materia.errors import SearchError
from materia.search._gauss import Floats
from materia.search.acquisitions._base import Situation

ANIONS = frozenset({"S", "Se", "Te", "I", "P", "As", "Sb"})
NEVER = frozenset({"O", "F", "Cl"})  # the most electronegative: gaps mostly too wide for an absorber

_STEP = math.log(1e-20)  # between two tiers: draws are above 1e-16


class Chemist:
    """Charge-balanced sulfides, selenides, tellurides, iodides, phosphides, arsenides and antimonides first.

    Without O, F and Cl; at random within. Balanced means that common oxidation states of the elements (pymatgen's
    table, and this project's closed-shell charges) add up to zero with cations less electronegative than anions.
    Once these are used up, the same anions without balance, then the rest, each at random: what a person would do.
    No prediction and no label is looked at.

    Factors: ``rule``, 1, 1e-20 and 1e-40 for the tiers; ``draw``, uniform in (0, 1).

    Raises:
        SearchError: the formulas of the pool are not known.
    """

    adjusted = False

    def __call__(self, situation: Situation) -> dict[str, Floats]:
        if situation.formulas is None:
            raise SearchError(
                "acquisition 'chemist' needs the formulas of the pool", remedy="pass formulas to the PoolView"
            )
        tiers = np.array([tier(formula) for formula in situation.formulas], dtype=np.float64)
        return {"rule": tiers * _STEP, "draw": np.log(1.0 - situation.rng.random(len(tiers)))}


@cache
def tier(formula: str) -> int:
    """0: the rule holds; 1: it does but for the balance of charges; 2: it does not."""
    from pymatgen.core import Composition

    counts = {str(e): int(n) for e, n in Composition(formula).items()}
    if not ANIONS & counts.keys() or NEVER & counts.keys():
        return 2
    return 0 if _balanced(tuple(counts.items())) else 1


def _balanced(counts: tuple[tuple[str, int], ...]) -> bool:
    from materia.elements import closed_shell_charges
    from materia.space import balanced_charges

    species, numbers = zip(*counts, strict=True)
    extra = {s: [q for q in _common(s) if q not in closed_shell_charges(s)] for s in species}
    return next(balanced_charges(species, numbers, extra), None) is not None


@cache
def _common(symbol: str) -> tuple[int, ...]:
    from pymatgen.core import Element

    return tuple(int(q) for q in Element(symbol).common_oxidation_states)
