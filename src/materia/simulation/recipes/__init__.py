"""Recipes: steps of DFT work, or of work with a potential, each a short function over an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from materia.errors import ConfigError
from materia.simulation.recipes._beyond import gllbsc, hybrid, hybrid_spin_orbit, spin_orbit
from materia.simulation.recipes._dielectric import dielectric
from materia.simulation.recipes._distorts import distorts
from materia.simulation.recipes._gap import gap, gap_from_bands
from materia.simulation.recipes._masses import masses
from materia.simulation.recipes._needs import CLOSED_SHELL, NEEDS, ONE_RANK, lacking, level_for
from materia.simulation.recipes._reference import molecule, static
from materia.simulation.recipes._relax import MAX_VOLUME_CHANGE, relax
from materia.simulation.recipes._screening import dielectric_rpa

RECIPES: dict[str, Callable[..., dict[str, Any]]] = {
    "relax": relax,
    "gap": gap,
    "static": static,
    "molecule": molecule,
    "distorts": distorts,
    "spin_orbit": spin_orbit,
    "masses": masses,
    "gllbsc": gllbsc,
    "hybrid": hybrid,
    "hybrid_spin_orbit": hybrid_spin_orbit,
    "dielectric": dielectric,
    "dielectric_rpa": dielectric_rpa,
}
_ELECTRONS = frozenset({"molecule", *CLOSED_SHELL})
_POTENTIAL = frozenset({"distorts"})


def recipe(name: str) -> Callable[..., dict[str, Any]]:
    """The recipe of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}", remedy=f"use one of: {', '.join(RECIPES)}")
    return RECIPES[name]


def suits(name: str, electrons: bool) -> str:
    """Why the recipe cannot be done by an engine with electrons, or without; "" where it can."""
    if name in _ELECTRONS and not electrons:
        return "a potential has no electrons, and so neither gap nor spin"
    if name in _POTENTIAL and electrons:
        return "hundreds of steps of a supercell are work for a potential"
    return ""


__all__ = [
    "CLOSED_SHELL",
    "MAX_VOLUME_CHANGE",
    "NEEDS",
    "ONE_RANK",
    "RECIPES",
    "dielectric",
    "dielectric_rpa",
    "distorts",
    "gap",
    "gap_from_bands",
    "gllbsc",
    "hybrid",
    "hybrid_spin_orbit",
    "lacking",
    "level_for",
    "masses",
    "molecule",
    "recipe",
    "relax",
    "spin_orbit",
    "static",
    "suits",
]
