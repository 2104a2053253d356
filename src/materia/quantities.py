"""The registry of physical quantities: one name, unit and display for each, used by every room.

A quantity here is a physical property *at one fidelity*: the PBE gap and the HSE06 gap are two
entries, so that values of different physics can never be pooled by accident.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from materia.errors import ConfigError


class Fidelity(StrEnum):
    """The physics a value claims."""

    PBE = "PBE"
    MP_PBE = "MP-PBE"  # Materials Project: PBE or PBE+U energies with their corrections
    HSE06 = "HSE06"
    NONE = "none"  # not a computed electronic-structure value (tables, geometry)


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
    """

    name: str
    symbol: str
    unit: str
    fidelity: Fidelity
    title: str
    lower: float | None = None

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
