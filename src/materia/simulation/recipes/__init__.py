"""Recipes: steps of DFT work, each a short function over an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from materia.errors import ConfigError
from materia.simulation.recipes._gap import gap, gap_from_bands
from materia.simulation.recipes._reference import molecule, static
from materia.simulation.recipes._relax import MAX_VOLUME_CHANGE, relax

RECIPES: dict[str, Callable[..., dict[str, Any]]] = {
    "relax": relax,
    "gap": gap,
    "static": static,
    "molecule": molecule,
}


def recipe(name: str) -> Callable[..., dict[str, Any]]:
    """The recipe of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}", remedy=f"use one of: {', '.join(RECIPES)}")
    return RECIPES[name]


__all__ = ["MAX_VOLUME_CHANGE", "RECIPES", "gap", "gap_from_bands", "molecule", "recipe", "relax", "static"]
