"""From a prototype and its species to a crystal near its PBE-relaxed size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, atomic_number, electronegativity
from materia.elements import bond_valence
from materia.errors import SpaceError
from materia.space._charges import likely_charges
from materia.space._prototypes import Prototype, prototype

_REACH = 2.2  # bonds counted, in units of a prototype's shortest contact; longer ones carry < 2 % of the valence


def build_prototype(name: str, species: Sequence[str]) -> Crystal:
    """The primitive cell of a prototype with these species on its roles, scaled to its likely PBE size.

    Internal parameters and axial ratios are the prototype's; only the size depends on the species. Where closed-shell
    charges balance, the cell is scaled until the bond valences of all cations add up to their charges (see
    ``data/elements/bond_valence.json``; mean error of a about 1 % against PBE). Otherwise the tightest contact gets
    its data-mined length (DLS). Deterministic, well below a millisecond.

    Args:
        name: prototype, see :data:`materia.space.PROTOTYPES`.
        species: one element symbol per role, in the prototype's order (cations first, anions last). The same symbol
            may stand in several roles.

    Raises:
        SpaceError: unknown prototype, or the number of species does not fit its roles.
        ElementError: a symbol that is no element.
    """
    proto = prototype(name)
    if len(species) != len(proto.roles):
        raise SpaceError(
            f"prototype {name!r} takes {len(proto.roles)} species ({' '.join(proto.roles)}), not {list(species)!r}",
            remedy=f"for instance {list(proto.example)!r}",
        )
    numbers = np.array([atomic_number(s) for s in species])
    a = _lattice_constant(proto, tuple(species), _charges_of_roles(proto, species))
    return Crystal(proto.lattice * a, numbers[list(proto.site_roles)], proto.frac_coords)


def _charges_of_roles(proto: Prototype, species: Sequence[str]) -> tuple[int, ...] | None:
    counts: dict[str, int] = {}
    for symbol, n in zip(species, proto.counts, strict=True):
        counts[symbol] = counts.get(symbol, 0) + n
    charges = likely_charges(tuple(counts), tuple(counts.values()))
    if charges is None:
        return None
    by_symbol = dict(zip(counts, charges, strict=True))
    return tuple(by_symbol[s] for s in species)


@cache
def _bonds(proto: Prototype) -> dict[tuple[int, int], NDArray[np.float64]]:
    """All distances from the sites of one role to those of another, within reach, in units of a."""
    shifts = np.array(np.meshgrid(*[np.arange(-4, 5)] * 3)).reshape(3, -1).T @ proto.lattice
    positions = (proto.frac_coords % 1.0) @ proto.lattice
    distances = np.linalg.norm(positions[None, :, None] - positions[:, None, None] + shifts, axis=-1)
    roles = np.array(proto.site_roles)
    reach = _REACH * proto.role_distances.min()
    found = {}
    for i in range(len(proto.roles)):
        for j in range(len(proto.roles)):
            d = distances[np.ix_(roles == i, roles == j)].ravel()
            found[i, j] = np.sort(d[(d > 1e-8) & (d < max(reach, 1.4 * proto.role_distances[i, j]))])
    return found


def _lattice_constant(proto: Prototype, species: tuple[str, ...], charges: tuple[int, ...] | None) -> float:
    """Scale of the prototype's lattice, Å."""
    if charges is None:
        return _contact_constant(proto, species)
    table = bond_valence()
    bonds = _bonds(proto)
    lengths, ideal = [], []
    for i, q in enumerate(charges):
        for j, p in enumerate(charges):
            if q > 0 > p:
                pull = table.k * (electronegativity(species[i]) - electronegativity(species[j])) ** 2
                lengths.append(bonds[i, j])
                length = table.radii[species[i], q] + table.radii[species[j], p] - pull
                ideal.append(np.full(len(bonds[i, j]), length))
    d, r = np.concatenate(lengths), np.concatenate(ideal)
    valence = sum(q * n for q, n in zip(charges, proto.counts, strict=True) if q > 0)
    # log of the valence sum falls almost linearly with a: Newton from the tightest contact at its ideal length
    a = float(np.max(r / d))
    for _ in range(50):
        terms = np.exp((r - a * d) / table.b)
        total = terms.sum()
        step = np.log(total / valence) * table.b * total / (terms @ d)
        a += float(np.clip(step, -0.2 * a, 0.2 * a))
        if abs(step) < 1e-10 * a:
            break
    return a


def _contact_constant(proto: Prototype, species: tuple[str, ...]) -> float:
    """Tightest contact at its data-mined length (DLS: Chu et al., Comput. Mater. Sci. 146, 184 (2018))."""
    from ase.data import covalent_radii
    from pymatgen.core.structure_prediction.volume_predictor import bond_params

    spread = float(np.std([electronegativity(species[k]) for k in proto.site_roles]))
    radii = np.array(
        [
            float(bond_params[s]["r"]) + float(bond_params[s]["k"]) * spread
            if s in bond_params
            else covalent_radii[atomic_number(s)]
            for s in species
        ]
    )
    return float(np.max((radii[:, None] + radii[None, :]) / proto.role_distances))
