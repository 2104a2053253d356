"""The registry of physical quantities: one name, unit and display for each, used by every room.

A quantity here is a physical property *at one fidelity*: the PBE gap and the HSE06 gap are two
entries, so that values of different physics can never be pooled by accident.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from materia.errors import ConfigError


class Fidelity(StrEnum):
    """The physics a value claims."""

    PBE = "PBE"
    MP_PBE = "MP-PBE"  # Materials Project: PBE or PBE+U energies with their corrections
    HSE06 = "HSE06"
    NONE = "none"  # not a computed electronic-structure value (tables, geometry)
    UNSTATED = "unstated"  # declared by a user who did not say


class Kind(StrEnum):
    """How a value goes with the size of the cell."""

    INTENSIVE = "intensive"  # a supercell has the same
    EXTENSIVE = "extensive"  # of the whole cell: a supercell of two has twice as much


@dataclass(frozen=True)
class Quantity:
    """One physical quantity.

    Attributes:
        name: field name in records, tables and files.
        symbol: as printed in figures (Matplotlib mathtext).
        unit: unit of every stored value; "1" where dimensionless.
        fidelity: the physics the value claims.
        title: for people.
        lower: physical lower bound, if there is one (predictions are clamped to it).
        kind: whether it grows with the cell.
    """

    name: str
    symbol: str
    unit: str
    fidelity: Fidelity
    title: str
    lower: float | None = None
    kind: Kind = Kind.INTENSIVE

    @property
    def label(self) -> str:
        """Title with unit, as put on axes and table heads."""
        return self.title if self.unit == "1" else f"{self.title} ({self.unit})"


FORMATION_ENERGY = "formation_energy_per_atom"
GAP_PBE = "gap_pbe"
GAP_DIRECT_PBE = "gap_direct_pbe"
ENERGY = "energy_per_atom"
ENERGY_ABOVE_HULL = "energy_above_hull"
VOLUME = "volume_per_atom"
SUPPLY_RISK = "supply_risk"
FORMATION_ENERGY_MP = "formation_energy_per_atom_mp"
GAP_MP = "gap_pbe_mp"
ENERGY_ABOVE_HULL_MP = "energy_above_hull_mp"
GAP_HSE06 = "gap_hse06"

_ALL = (
    Quantity(FORMATION_ENERGY, "$E_f$", "eV/atom", Fidelity.PBE, "Formation energy, PBE"),
    Quantity(GAP_PBE, "$E_g$", "eV", Fidelity.PBE, "Band gap, PBE", lower=0.0),
    Quantity(GAP_DIRECT_PBE, "$E_g^{dir}$", "eV", Fidelity.PBE, "Direct band gap, PBE", lower=0.0),
    Quantity(ENERGY, "$E$", "eV/atom", Fidelity.PBE, "Total energy, PBE"),
    Quantity(ENERGY_ABOVE_HULL, "$E_{hull}$", "eV/atom", Fidelity.PBE, "Energy above the known hull, PBE"),
    Quantity(VOLUME, "$V$", "Å³/atom", Fidelity.PBE, "Volume, PBE", lower=0.0),
    Quantity(SUPPLY_RISK, "$R$", "1", Fidelity.NONE, "Supply risk (HHI/10000)", lower=0.0),
    Quantity(FORMATION_ENERGY_MP, "$E_f^{MP}$", "eV/atom", Fidelity.MP_PBE, "Formation energy, Materials Project"),
    Quantity(GAP_MP, "$E_g^{MP}$", "eV", Fidelity.MP_PBE, "Band gap, Materials Project", lower=0.0),
    Quantity(
        ENERGY_ABOVE_HULL_MP,
        "$E_{hull}^{MP}$",
        "eV/atom",
        Fidelity.MP_PBE,
        "Energy above hull, Materials Project",
        lower=0.0,
    ),
    Quantity(GAP_HSE06, "$E_g^{HSE}$", "eV", Fidelity.HSE06, "Band gap, HSE06", lower=0.0),
)

REGISTRY: dict[str, Quantity] = {q.name: q for q in _ALL}


def quantity(name: str) -> Quantity:
    """The registered quantity of that name.

    Raises:
        ConfigError: the name is not registered; the message lists those that are.
    """
    try:
        return REGISTRY[name]
    except KeyError:
        raise ConfigError(f"unknown quantity {name!r}", remedy=f"use one of: {', '.join(sorted(REGISTRY))}") from None


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_ENTRIES = ("unit", "kind", "lower", "title", "fidelity")


def declare(
    name: str,
    *,
    unit: str,
    kind: str = Kind.INTENSIVE,
    lower: float | None = None,
    title: str = "",
    fidelity: str = Fidelity.UNSTATED,
) -> Quantity:
    """A quantity that is not in the registry, as the user states it. Nothing is registered.

    Raises:
        ConfigError: a name that is no name, a registered name with another unit or kind, no such kind or fidelity,
            a bound other than zero of an extensive quantity.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a quantity", remedy="use letters, digits and underscores; the first is a letter"
        )
    if not unit:
        raise ConfigError(f"the quantity {name} has no unit", remedy='give one; "1" where it is dimensionless')
    for given, known, what in ((kind, Kind, "kind"), (fidelity, Fidelity, "fidelity")):
        if given not in [member.value for member in known]:
            raise ConfigError(f"the quantity {name} has the {what} {given!r}", remedy=f"use one of: {', '.join(known)}")
    if kind == Kind.EXTENSIVE and lower not in (None, 0.0):
        raise ConfigError(
            f"the extensive quantity {name} has the lower bound {lower}",
            remedy="only zero means the same for every size of the cell",
        )
    registered = REGISTRY.get(name)
    if registered is None:
        return Quantity(name, name, unit, Fidelity(fidelity), title or name.replace("_", " "), lower, Kind(kind))
    if (registered.unit, registered.kind) != (unit, kind):
        raise ConfigError(
            f"{name} is registered as {registered.kind} in {registered.unit}, not as {kind} in {unit}",
            remedy="convert the values, or give the quantity another name",
        )
    return registered


def parse_quantity(text: str) -> Quantity:
    """A declaration ``name:unit[:kind[:lower]]``, such as ``shear_modulus:GPa:intensive:0``; see :func:`declare`.

    Raises:
        ConfigError: it is not of that form, or says what cannot be.
    """
    name, *rest = (part.strip() for part in text.split(":"))
    try:
        unit, kind, lower = [*rest, *("", Kind.INTENSIVE.value, "")[len(rest) :]]
        bound = float(lower) if lower else None
    except ValueError:
        raise ConfigError(
            f"{text!r} declares no quantity", remedy="write name:unit:kind, such as shear_modulus:GPa:intensive"
        ) from None
    return declare(name, unit=unit, kind=kind, lower=bound)


def quantity_record(found: Quantity) -> dict[str, Any]:
    """JSON form of what :func:`declare` takes, the name apart."""
    return {entry: getattr(found, entry) for entry in _ENTRIES}
