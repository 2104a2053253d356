"""From a prototype and its species to a crystal near its PBE-relaxed size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from materia.crystal import Crystal, atomic_number
from materia.errors import SpaceError
from materia.space._prototypes import prototype


@cache
def _bond_parameters() -> dict[str, tuple[float, float]]:
    from pymatgen.core.structure_prediction.volume_predictor import bond_params

    return {s: (float(p["r"]), float(p["k"])) for s, p in bond_params.items()}


def build_prototype(name: str, species: Sequence[str]) -> Crystal:
    """The primitive cell of a prototype with these species on its roles, scaled to a likely size.

    The size comes from data-mined bond lengths (DLS; Chu et al., J. Chem. Phys. ...): the cell is scaled until
    its tightest contact has the expected length.

    Args:
        name: prototype, see :data:`materia.space.PROTOTYPES`.
        species: one element symbol per role, in the prototype's order (cations first, anions last).

    Raises:
        SpaceError: unknown prototype, or the number of species does not fit its roles.
        ElementError: a symbol that is no element.
    """
    proto = prototype(name)
    if len(species) != len(proto.roles):
        raise SpaceError(
            f"prototype {name!r} takes {len(proto.roles)} species ({' '.join(proto.roles)}); got {list(species)!r}",
            remedy=f"for instance {list(proto.example)!r}",
        )
    numbers = np.array([atomic_number(s) for s in species])
    site_species = [species[k] for k in proto.site_roles]
    from pymatgen.core import Element

    spread = float(np.std([float(Element(s).X) for s in site_species]))
    table = _bond_parameters()
    radii = np.array([table[s][0] + table[s][1] * spread for s in species])
    a = float(np.max((radii[:, None] + radii[None, :]) / proto.role_distances))
    return Crystal(proto.lattice * a, numbers[list(proto.site_roles)], proto.frac_coords)
