"""Tabulated element features: what chemistry knows before any training."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from materia.crystal import Crystal

N_ELEMENTS = 101  # rows by atomic number; row 0 is unused
N_FEATURES = 22


def unsupported(crystal: Crystal) -> str:
    """Why no network can take this crystal; empty where it can."""
    heaviest = int(crystal.numbers.max())
    return f"element {heaviest} is beyond the tables, which end at {N_ELEMENTS - 1}" if heaviest >= N_ELEMENTS else ""


def _number(read: Callable[[], Any]) -> float:
    try:
        value = read()
        return float(value) if value is not None else math.nan
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):  # no such entry in pymatgen's table
        return math.nan


@cache
def element_features() -> Tensor:
    """(101, 22) element features (pymatgen's tables), standardised over Z = 1..100; gaps at the mean.

    Electronegativity, radii, mass, place in the periodic table, ionisation energy, electron affinity, melting
    point, oxidation states, block and valence electrons of each kind.
    """
    import warnings

    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of every missing entry
        rows = [_row(Element.from_Z(z)) for z in range(1, N_ELEMENTS)]
    table = np.array(rows)
    table = np.where(np.isnan(table), np.nanmean(table, axis=0), table)
    table = (table - table.mean(0)) / (table.std(0) + 1e-9)
    return torch.tensor(np.vstack([np.zeros(table.shape[1]), table]), dtype=torch.float32)


def _row(e: Any) -> list[float]:
    readers: list[Callable[[], Any]] = [
        lambda: e.X,
        lambda: e.atomic_radius,
        lambda: e.atomic_radius_calculated,
        lambda: e.average_ionic_radius,
        lambda: e.atomic_mass,
        lambda: e.atomic_mass**-0.5,
        lambda: e.group,
        lambda: e.row,
        lambda: e.mendeleev_no,
        lambda: e.ionization_energies[0],
        lambda: e.electron_affinity,
        lambda: math.log(e.melting_point),
        lambda: max(e.common_oxidation_states),
        lambda: min(e.common_oxidation_states),
    ]
    valence = dict.fromkeys("spdf", 0.0)
    for _, orbital, count in list(e.full_electronic_structure)[-4:]:
        valence[orbital] = float(count)
    return [*map(_number, readers), *(float(e.block == b) for b in "spdf"), *valence.values()]
