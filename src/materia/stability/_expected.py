"""A hull that knows some phases and expects others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from materia.stability._hull import Hull, HullEntry

_RIVALS = 2  # lowest phases of a composition: the best one for all others, and the second for the best one itself


class ExpectedHull:
    """The hull of the phases that were computed and of candidates at their predicted energies.

    Where few phases of a chemical system are known, nearly everything lies below their hull. A candidate competes
    with other structures of its composition and with mixtures of its elements' compounds whether they were computed
    or not; what is predicted of them says to first order (means in the place of distributions) what the hull will be.

    Args:
        known: hull of the phases that were computed.
        compositions: of the n candidates: atoms of each element.
        energies: (n,) predicted formation energies, eV/atom; what is not finite competes with nothing.
        names: (n,) of the entry of ``known`` that a candidate is: that stands for it then, and its own distance is
            that of its predicted energy to all others. None for candidates that are not known.
    """

    def __init__(
        self,
        known: Hull,
        compositions: Sequence[Mapping[str, int]],
        energies: ArrayLike,
        *,
        names: Sequence[str | None] | None = None,
    ) -> None:
        self._compositions = compositions
        self._energies = np.asarray(energies, dtype=np.float64)
        self._own: list[str | None] = list(names) if names is not None else [None] * len(compositions)
        self._predicted: dict[str, int] = {}
        lowest: dict[tuple[tuple[str, float], ...], int] = {}
        entries = []
        for i in np.argsort(self._energies, kind="stable").tolist():
            if self._own[i] is not None or not np.isfinite(self._energies[i]):
                continue
            entry = HullEntry(f"predicted/{i}", compositions[i], float(self._energies[i]))
            place = tuple(entry.fractions.items())
            lowest[place] = lowest.get(place, 0) + 1
            if lowest[place] <= _RIVALS:
                entries.append(entry)
                self._own[i] = entry.name
                self._predicted[entry.name] = i
        self._hull = Hull([*known.entries, *entries])

    def distances(self) -> NDArray[np.float64]:
        """(n,) distance of each candidate's predicted energy to the hull of all others, eV/atom."""
        return self._energies - self._hull.hull_energies(self._compositions, exclude=self._own)

    def rivals(self, index: int) -> list[tuple[str | int, float]]:
        """The mixture that a candidate is measured from, largest share of the atoms first: (element or name in
        ``known``, or index of the candidate that is expected there; share)."""
        mixture = self._hull.decomposition(self._compositions[index], exclude=self._own[index])
        return [(self._predicted.get(name, name), share) for name, share in mixture.items()]
