"""All quantities of a computed structure that the campaign's conditions ask for."""

from __future__ import annotations

from collections.abc import Sequence

from materia import quantities as q
from materia.crystal import Crystal
from materia.errors import ElementError
from materia.record import Label
from materia.stability import Hull
from materia.sustainability import supply_risk


def values_of(crystal: Crystal, labels: Sequence[Label], hull: Hull, *, name: str) -> dict[str, float]:
    """quantity -> value: the labels, the energy above the hull of the *other* known phases, the supply risk if known.

    Args:
        name: the structure's own entry on the hull, which is left out when it is compared.
    """
    values = {label.quantity: label.value for label in labels}
    if q.FORMATION_ENERGY in values:
        others = Hull([entry for entry in hull.entries if entry.name != name])
        values[q.ENERGY_ABOVE_HULL] = others.energy_above_hull(crystal.composition, values[q.FORMATION_ENERGY])
    try:
        values[q.SUPPLY_RISK] = supply_risk(crystal.composition)
    except ElementError:  # no table has this element: missing stays missing
        return values
    return values
