"""The convex hull of formation energies, one chemical system at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from materia.errors import DatasetError

_BOUND = -1e-6  # eV/atom: a phase above this cannot be told from a mixture of the elements
_TOUCHES = 1e-9  # eV/atom: a phase this near to the hull is on it
_SHARE = 1e-6  # of the atoms: less of a phase is none of it
_VERTICAL = -1e-9  # facets whose unit normal points less down in energy than this are walls, not floor


@dataclass(frozen=True)
class HullEntry:
    """A known phase.

    Attributes:
        name: unique; what ``exclude`` refers to.
        composition: atoms of each element in the cell.
        formation_energy_per_atom: eV/atom.
        level_hash: level of that energy; entries of different levels are refused. Empty where unknown.
    """

    name: str
    composition: Mapping[str, int]
    formation_energy_per_atom: float
    level_hash: str = ""

    @cached_property
    def fractions(self) -> dict[str, float]:
        """Atomic fraction of each element."""
        n = sum(self.composition.values())
        return {s: k / n for s, k in sorted(self.composition.items()) if k}

    @cached_property
    def system(self) -> tuple[str, ...]:
        """Its elements, sorted."""
        return tuple(self.fractions)


class Hull:
    """Lower convex hull of known phases; the elements, at 0 eV/atom, are always in.

    The hull in a chemical system is convex and piecewise linear, so its energy at a composition is the largest of
    the planes through its lower facets there. Planes are found once per system (Qhull) and kept.

    Args:
        entries: known phases, in any order, of any chemical systems.

    Raises:
        DatasetError: entries of several levels, two with one name, or an energy that is no number.
    """

    def __init__(self, entries: Sequence[HullEntry]) -> None:
        self.entries = tuple(sorted(entries, key=lambda e: e.name))
        self._planes: dict[tuple[tuple[str, ...], str | None], NDArray[np.float64]] = {}
        self._check()
        self._names = {e.name for e in self.entries}
        # those at or above the elements' plane are never on the hull
        self._bound = {e.name: e for e in self.entries if e.formation_energy_per_atom < _BOUND}
        self._systems: dict[tuple[str, ...], list[HullEntry]] = {}
        for e in self._bound.values():
            self._systems.setdefault(e.system, []).append(e)

    def _check(self) -> None:
        levels = sorted({e.level_hash for e in self.entries if e.level_hash})
        if len(levels) > 1:
            raise DatasetError(
                f"phases computed at {len(levels)} levels cannot share a hull: {', '.join(levels)}",
                remedy="keep the entries of one level",
            )
        for first, second in zip(self.entries, self.entries[1:], strict=False):
            if first.name == second.name:
                raise DatasetError(f"two phases of the hull are named {first.name!r}", remedy="name them apart")
        for e in self.entries:
            if not np.isfinite(e.formation_energy_per_atom) or not e.fractions:
                raise DatasetError(
                    f"{e.name} has formation energy {e.formation_energy_per_atom} and composition "
                    f"{dict(e.composition)}: no entry of a hull"
                )

    @cached_property
    def hash(self) -> str:
        """Pins the hull: names, fractions and energies (1e-6 eV/atom) of all entries (16 hex digits)."""
        rows = [
            [
                e.name,
                [[s, round(x, 6)] for s, x in e.fractions.items()],
                f"{round(e.formation_energy_per_atom, 6) + 0.0:.6f}",
                e.level_hash,
            ]
            for e in self.entries
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def hull_energy(self, composition: Mapping[str, int], *, exclude: str | None = None) -> float:
        """Energy of the best mixture of known phases at a composition, eV/atom (0 or less).

        Args:
            composition: atoms of each element.
            exclude: name of an entry to leave out, such as the candidate itself.
        """
        return float(self.hull_energies([composition], exclude=None if exclude is None else [exclude])[0])

    def hull_energies(
        self, compositions: Sequence[Mapping[str, int]], *, exclude: Sequence[str | None] | None = None
    ) -> NDArray[np.float64]:
        """(n,) hull energies, eV/atom; see :meth:`hull_energy`."""
        result = np.zeros(len(compositions))
        groups: dict[tuple[tuple[str, ...], str | None], list[int]] = {}
        for i, composition in enumerate(compositions):
            system = tuple(sorted(s for s, k in composition.items() if k))
            left_out = exclude[i] if exclude is not None else None
            if left_out is not None and not self._carries(system, left_out):
                left_out = None
            groups.setdefault((system, left_out), []).append(i)
        for (system, left_out), rows in groups.items():
            planes = self._facets(system, left_out)
            counts = np.array([[compositions[i][s] for s in system] for i in rows], dtype=np.float64)
            fractions = counts / counts.sum(axis=1, keepdims=True)
            result[rows] = (fractions @ planes.T).max(axis=1)
        return result

    def decomposition(self, composition: Mapping[str, int], *, exclude: str | None = None) -> dict[str, float]:
        """The mixture of known phases of least energy at a composition: name -> share of the atoms, largest first.

        Elements go by their symbols. On the floor of the hull the mixture is the one of
        :meth:`hull_energy`; where several have that energy, one of them.

        Args:
            composition: atoms of each element.
            exclude: as there.
        """
        from scipy.optimize import linprog

        system = tuple(sorted(s for s, k in composition.items() if k))
        known = list(self._known(system, exclude))
        names = [*system, *(e.name for e in known)]
        columns = np.column_stack(
            [np.eye(len(system)), *(np.array([e.fractions.get(s, 0.0) for s in system]) for e in known)]
        )
        energies = [0.0] * len(system) + [e.formation_energy_per_atom for e in known]
        total = sum(composition.values())
        wanted = np.array([composition[s] / total for s in system])
        shares = linprog(energies, A_eq=columns, b_eq=wanted, method="highs").x
        found = {name: float(x) for name, x in zip(names, shares, strict=True) if x > _SHARE}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def energy_above_hull(
        self, composition: Mapping[str, int], formation_energy_per_atom: float, *, exclude: str | None = None
    ) -> float:
        """Distance to the hull of the other known phases, eV/atom.

        Negative where the phase lies below that hull: it would be stable against everything known. Where the phase
        is itself an entry, name it in ``exclude``; otherwise it is compared with itself and gets 0 at best.
        """
        return formation_energy_per_atom - self.hull_energy(composition, exclude=exclude)

    def _known(self, system: tuple[str, ...], exclude: str | None) -> Iterator[HullEntry]:
        """Phases below the elements' plane in a system (sorted), its subsystems included, but for the one left out."""
        for n in range(1, len(system) + 1):
            for part in combinations(system, n):
                yield from (e for e in self._systems.get(part, ()) if e.name != exclude)

    def _carries(self, system: tuple[str, ...], name: str) -> bool:
        """Whether a phase is on the hull in a system (sorted); where it is not, the hull is the same without it."""
        entry = self._bound.get(name)
        if entry is None or not set(system).issuperset(entry.fractions):
            return False
        place = np.array([entry.fractions.get(s, 0.0) for s in system])
        return entry.formation_energy_per_atom < float((self._facets(system, None) @ place).max()) + _TOUCHES

    def _facets(self, system: tuple[str, ...], exclude: str | None) -> NDArray[np.float64]:
        """(n_planes, n_elements) such that the hull energy at fractions x is max(planes @ x)."""
        key = (system, exclude)
        if key not in self._planes:
            self._planes[key] = self._compute_facets(system, exclude)
        return self._planes[key]

    def _compute_facets(self, system: tuple[str, ...], exclude: str | None) -> NDArray[np.float64]:
        n = len(system)
        flat = np.zeros((1, n))
        best: dict[tuple[float, ...], float] = {}  # lowest phase of each composition; no other is on the hull
        for e in self._known(system, exclude):
            place = tuple(e.fractions.get(s, 0.0) for s in system)
            best[place] = min(e.formation_energy_per_atom, best.get(place, 0.0))
        if not best or n == 1:
            return flat + min(best.values(), default=0.0) if n == 1 else flat
        from scipy.spatial import ConvexHull

        fractions, energies = np.array(list(best)), np.array(list(best.values()))
        points = np.vstack([np.eye(n), fractions])[:, 1:]
        points = np.column_stack([points, np.concatenate([np.zeros(n), energies])])
        # normal . x + offset = 0 on each facet; lower ones have a normal that points down in energy
        equations = ConvexHull(points).equations
        lower = equations[equations[:, -2] < _VERTICAL]
        slopes = -lower[:, :-2] / lower[:, -2:-1]
        constant = -lower[:, -1] / lower[:, -2]
        # e(x) = constant + sum_k slope_k x_k over k >= 1, and the fractions add up to 1
        return np.column_stack([constant, constant[:, None] + slopes])
