"""Canaries: a few well-known crystals whose predictions the card keeps, computed again at every load.

A digest tells that a file has changed; canaries tell that the numbers come out wrong, whatever the reason: weights
under another card's settings, another table of elements, a library that computes something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from materia.crystal import Crystal
from materia.errors import ModelError
from materia.surrogate._device import threads
from materia.surrogate._graph import GraphStore

if TYPE_CHECKING:
    from materia.surrogate._surrogate import Member

TOLERANCE = 1e-3  # of the spread of the training labels: a thousand times what rounding does in single precision

_FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_DIAMOND, _ROCKSALT, _ORIGIN = [[0, 0, 0], [0.25] * 3], [[0, 0, 0], [0.5] * 3], [[0, 0, 0]]
_PEROVSKITE = [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def canaries() -> dict[str, Crystal]:
    """Name -> crystal, lattice constants (Å) near the measured ones; what counts is that they stay the same."""
    cubic = {
        "Si": (_FCC, 5.43, ["Si", "Si"], _DIAMOND),
        "Ge": (_FCC, 5.66, ["Ge", "Ge"], _DIAMOND),
        "GaAs": (_FCC, 5.65, ["Ga", "As"], _DIAMOND),
        "CdTe": (_FCC, 6.48, ["Cd", "Te"], _DIAMOND),
        "MgO": (_FCC, 4.21, ["Mg", "O"], _ROCKSALT),
        "NaCl": (_FCC, 5.64, ["Na", "Cl"], _ROCKSALT),
        "Cu": (_FCC, 3.61, ["Cu"], _ORIGIN),
        "Al": (_FCC, 4.05, ["Al"], _ORIGIN),
        "SrTiO3": (np.eye(3), 3.905, ["Sr", "Ti", "O", "O", "O"], _PEROVSKITE),
    }
    found = {name: Crystal.from_species(cell * a, species, at) for name, (cell, a, species, at) in cubic.items()}
    a, c, u = 3.25, 5.21, 0.382
    wurtzite = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])
    at = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, u], [2 / 3, 1 / 3, 0.5 + u]]
    return {**found, "ZnO": Crystal.from_species(wurtzite, ["Zn", "Zn", "O", "O"], at)}


def canary_columns(members: Sequence[Member]) -> dict[str, list[float]]:
    """Name -> (W) what the ensemble predicts for it, in the learned columns (``_layout``)."""
    crystals = canaries()
    network = members[0].network
    store = GraphStore.build(list(crystals.values()), network.cutoff, network.centre.dtype)
    with threads(1):  # ten cells have nothing to share out
        columns = np.mean([m.evaluate(store, torch.device("cpu"))[0] for m in members], axis=0)
    return {name: [float(f"{v:.6g}") for v in row] for name, row in zip(crystals, columns.tolist(), strict=True)}


def require_canaries(members: Sequence[Member], card: Mapping[str, Any], where: Path) -> None:
    """Refuse a model that does not say of its canaries what it said when it was written; a card without any passes.

    Raises:
        ModelError: names the canaries that are missed, and by how much.
    """
    kept = card.get("canaries")
    if not kept:
        return
    scale = np.mean([m.network.scale.double().numpy() for m in members], axis=0)
    misses = []
    for name, now in canary_columns(members).items():
        then = kept.get(name)
        if then is None or len(then) != len(now):
            misses.append(f"{name} (not in the card)")
            continue
        off = np.abs(np.array(now) - np.array(then)) / scale
        if not (off <= TOLERANCE).all():  # also where it is not a number
            misses.append(f"{name} (off by {np.nanmax(off):.2g} of the labels' spread)")
    if misses:
        raise ModelError(
            f"the model does not predict what it did when it was written: {', '.join(misses)}",
            where=where,
            remedy="copy the folder again or retrain; weights and card must come from one training",
        )
