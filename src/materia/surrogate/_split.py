"""What the left-out examples of an ensemble share with what its members have learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, structure_type
from materia.surrogate._example import Example


def structure_types(examples: Sequence[Example]) -> NDArray[np.str_]:
    """(n,) of :func:`materia.crystal.structure_type`."""
    return np.array([_type_of(*_bytes(e.crystal)) for e in examples], dtype=str)


def split_report(
    examples: Sequence[Example], types: NDArray[np.str_], blind: NDArray[np.bool_], rows: NDArray[np.int64]
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """How far the split keeps apart what is alike.

    Args:
        examples: n labelled structures.
        types: (n,) of :func:`structure_types`.
        blind: (M, n) which member has not seen which example.
        rows: (m,) those that some member has not seen.

    Returns:
        ``left_out``: m; ``same_group``: how many of them a member that left them out knows another of the same group
        of, which must be none; ``same_structure_type``: how many it knows the structure type of, in another formula;
        and (m,) whether an example's structure type is new to all members that left it out.
    """
    groups = np.array([e.group for e in examples])
    leaked, known = np.zeros(len(examples), dtype=bool), np.zeros(len(examples), dtype=bool)
    for out in blind:
        leaked |= out & np.isin(groups, groups[~out])
        known |= out & np.isin(types, types[~out])
    report = {
        "left_out": len(rows),
        "same_group": int(leaked[rows].sum()),
        "same_structure_type": int(known[rows].sum()),
    }
    return report, ~known[rows]


def new_type_error(parity: Mapping[str, Sequence[float | None]], new: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean absolute error, in the unit, of left-out examples whose structure type is new; empty where there is none.

    Args:
        parity: ``observed`` and ``predicted`` of one quantity.
        new: of the same examples.
    """
    error = np.abs(np.array(parity["observed"], dtype=float) - np.array(parity["predicted"], dtype=float))[new]
    error = error[np.isfinite(error)]
    return {"mae_new_type": float(f"{error.mean():.6g}"), "n_new_type": len(error)} if len(error) else {}


def _bytes(crystal: Crystal) -> tuple[bytes, bytes, bytes]:
    return crystal.lattice.tobytes(), crystal.numbers.tobytes(), crystal.frac_coords.tobytes()


@lru_cache(maxsize=65536)
def _type_of(lattice: bytes, numbers: bytes, coordinates: bytes) -> str:
    """Some milliseconds each, and every round asks for all of them."""
    cell = np.frombuffer(lattice).reshape(3, 3)
    return structure_type(Crystal(cell, np.frombuffer(numbers, np.int64), np.frombuffer(coordinates).reshape(-1, 3)))
