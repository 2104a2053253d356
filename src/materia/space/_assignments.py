"""Every charge-balanced way to put ions on the roles of a prototype, and the filters it passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from materia.crystal import electronegativity
from materia.elements import bond_valence, closed_shell_charges, closed_shell_elements
from materia.space._charges import ion_electronegativity, likely_charges
from materia.space._prototypes import Prototype
from materia.space._settings import SpaceSettings

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Assignment:
    """Ions on the roles of a prototype.

    Attributes:
        prototype: which.
        species: a symbol per role.
        charges: a closed-shell charge per role.
    """

    prototype: Prototype
    species: tuple[str, ...]
    charges: tuple[int, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """What tells two assignments apart: the same species with other charges are the same crystal.

        Roles whose exchange makes no difference are put in alphabetical order.
        """
        species = list(self.species)
        for roles in self.prototype.same:
            for role, symbol in zip(roles, sorted(species[r] for r in roles), strict=True):
                species[role] = symbol
        return self.prototype.name, tuple(species)

    @property
    def standard(self) -> bool:
        """Whether roles of one sign and count are filled in the usual order.

        Cations by rising charge, then rising electronegativity; anions by falling charge, then falling
        electronegativity: CuGaS2, SrTiO3, LiZnP, BaFCl. Where a formula balances in several ways, the charges are
        those of :func:`likely_charges`: a property of the species alone, so exactly one order is the usual one.
        """
        proto = self.prototype
        counts = dict(zip(self.species, proto.counts, strict=True))
        symbols = tuple(sorted(counts))
        likely = likely_charges(symbols, tuple(counts[s] for s in symbols))
        charge = dict(zip(symbols, likely, strict=True)) if likely else dict.fromkeys(symbols, 0)
        for i, first in enumerate(self.species):
            for j, second in enumerate(self.species[:i]):
                if {(i, j), (j, i)} & set(proto.larger):
                    continue  # their sizes leave one order only
                if proto.signs[i] == proto.signs[j] and proto.counts[i] == proto.counts[j]:
                    sign = proto.signs[i]
                    if (charge[second], sign * electronegativity(second)) > (
                        charge[first],
                        sign * electronegativity(first),
                    ):
                        return False
        return True


@dataclass(frozen=True)
class _Ions:
    """The ions that may fill roles, as columns."""

    symbols: tuple[str, ...]
    charges: Indices
    electronegativities: NDArray[np.float64]
    radii: NDArray[np.float64]

    def where(self, symbols: frozenset[str]) -> NDArray[np.bool_]:
        return np.array([s in symbols for s in self.symbols], dtype=bool)


@cache
def _ions(extra: tuple[tuple[str, int], ...]) -> _Ions:
    pairs = [(s, q) for s in closed_shell_elements() for q in closed_shell_charges(s)] + list(extra)
    radii = bond_valence().radii
    return _Ions(
        symbols=tuple(s for s, _ in pairs),
        charges=np.array([q for _, q in pairs]),
        electronegativities=np.array([ion_electronegativity(s, q) for s, q in pairs]),
        radii=np.array([radii.get(pair, np.nan) for pair in pairs]),
    )


def assignments(settings: SpaceSettings, proto: Prototype, funnel: dict[str, int]) -> Iterator[Assignment]:
    """The assignments that pass the chemical filters, in a fixed order.

    Args:
        settings: which elements may be used.
        proto: a prototype with cation and anion roles.
        funnel: step -> how many assignments were left after it; added to.
    """
    ions = _ions(proto.extra_charges)
    rows = _balanced(proto, ions)
    _count(funnel, "charge-balanced, closed shells", rows)
    cation = np.max([ions.electronegativities[rows[:, k]] for k, s in enumerate(proto.signs) if s > 0], axis=0)
    anion = np.min([ions.electronegativities[rows[:, k]] for k, s in enumerate(proto.signs) if s < 0], axis=0)
    rows = rows[cation < anion]
    _count(funnel, "cations less electronegative than anions", rows)
    for i, j in proto.larger:
        rows = rows[ions.radii[rows[:, i]] > ions.radii[rows[:, j]]]
    _count(funnel, "ion sizes fit the sites", rows)
    if settings.elements is not None:
        rows = rows[ions.where(frozenset(settings.elements))[rows].all(axis=1)]
        _count(funnel, "elements asked for", rows)
    for name, symbols in settings.excluded.items():
        rows = rows[~ions.where(symbols)[rows].any(axis=1)]
        _count(funnel, f"without {name}", rows)
    for row in rows.tolist():
        yield Assignment(proto, tuple(ions.symbols[k] for k in row), tuple(int(ions.charges[k]) for k in row))


def _count(funnel: dict[str, int], step: str, rows: Indices) -> None:
    funnel[step] = funnel.get(step, 0) + len(rows)


def _balanced(proto: Prototype, ions: _Ions) -> Indices:
    """(n, n_roles) indices into ``ions``: right signs, distinct elements, zero total charge."""
    allowed = [np.flatnonzero(ions.charges * sign > 0) for sign in proto.signs]
    grids = np.meshgrid(*allowed, indexing="ij")
    total = sum(ions.charges[g] * n for g, n in zip(grids, proto.counts, strict=True))
    rows = np.stack([g[total == 0] for g in grids], axis=1)
    element = np.array([closed_shell_elements().index(s) for s in ions.symbols])[rows]
    distinct = np.ones(len(rows), dtype=bool)
    for i in range(rows.shape[1]):
        for j in range(i):
            distinct &= element[:, i] != element[:, j]
    result: Indices = rows[distinct]
    return result
