"""The tables of ``data/elements``, read once when first asked for."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from materia.errors import ElementError
from materia.resources import resource

HHI_SOURCE = "Gaultois et al., Chem. Mater. 25, 2911 (2013), doi:10.1021/cm400893e; USGS data of 2011, from pymatgen"


@dataclass(frozen=True)
class Supply:
    """How concentrated the supply of an element is, as Herfindahl-Hirschman indices (0 to 10,000).

    Attributes:
        production: over producing countries.
        reserves: over countries that hold reserves.
    """

    production: float
    reserves: float


@cache
def _supply_table() -> Mapping[str, Supply]:
    from pymatgen.analysis.hhi import HHIModel

    pairs = HHIModel().symbol_hhip_hhir
    return MappingProxyType({symbol: Supply(*values) for symbol, values in pairs.items()})


def supply(symbol: str) -> Supply:
    """Supply concentration of an element; the source is :data:`HHI_SOURCE`.

    Raises:
        ElementError: the table has no entry (hydrogen and most radioactive elements).
    """
    try:
        return _supply_table()[symbol]
    except KeyError:
        raise ElementError(
            f"no supply concentration (HHI) is known for {symbol!r}",
            where=HHI_SOURCE,
            remedy=f"leave it out of the space (exclude: [{symbol}]) or do not ask for supply_risk",
        ) from None


@cache
def _abundance_table() -> Mapping[str, float]:
    with resource("data/elements/crust_abundance.csv").open() as file:
        return MappingProxyType({row["symbol"]: float(row["mg_per_kg"]) for row in csv.DictReader(file)})


def crust_abundance(symbol: str) -> float:
    """Abundance in the Earth's crust, mg/kg (CRC Handbook, through mendeleev 1.3.0).

    Raises:
        ElementError: the table has no entry (elements that occur only as traces of decay).
    """
    try:
        return _abundance_table()[symbol]
    except KeyError:
        raise ElementError(
            f"no crust abundance is known for {symbol!r}", where="data/elements/crust_abundance.csv"
        ) from None


@cache
def _charge_table() -> Mapping[str, tuple[int, ...]]:
    table: dict[str, tuple[int, ...]] = {}
    with resource("data/elements/oxidation_states.csv").open() as file:
        for row in csv.DictReader(file):
            table[row["symbol"]] = (*table.get(row["symbol"], ()), int(row["charge"]))
    return MappingProxyType(table)


def closed_shell_charges(symbol: str) -> tuple[int, ...]:
    """Charges that leave this element with a closed shell, rising; empty where there are none."""
    return _charge_table().get(symbol, ())


def closed_shell_elements() -> tuple[str, ...]:
    """Elements with at least one closed-shell charge, in order of atomic number."""
    return tuple(_charge_table())


@dataclass(frozen=True)
class BondValence:
    """Parameters for the size of ionic and polar-covalent cells (``data/elements/bond_valence.json``).

    Valence of a bond of length d (Å): exp((r_c + r_a - k (X_c - X_a)^2 - d) / b).

    Attributes:
        b: softness, Å.
        k: shortening per squared difference of Pauling electronegativity, Å.
        radii: (symbol, charge) -> r, Å.
        source: where form and values come from.
    """

    b: float
    k: float
    radii: Mapping[tuple[str, int], float]
    source: str


@cache
def bond_valence() -> BondValence:
    """The bond-valence radii this project fitted; see ``data/elements/bond_valence.json``."""
    doc: dict[str, Any] = json.loads(resource("data/elements/bond_valence.json").read_text())
    radii = {
        (symbol, int(charge)): float(value[0])
        for symbol, charges in doc["radii"].items()
        for charge, value in charges.items()
    }
    return BondValence(doc["b"], doc["k"], MappingProxyType(radii), doc["source"])
