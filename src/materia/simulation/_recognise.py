"""Whether a calculation that was done elsewhere is one this package would do: setting by setting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.simulation._keys import key_with
from materia.simulation._kpoints import grid_size
from materia.simulation._levels import LEVELS, Level
from materia.simulation.engines import engine
from materia.simulation.recipes import level_for


def recognise(code: str, functional: str, crystal: Crystal, settings: Mapping[str, Any]) -> Level | None:
    """The level a finished calculation was done at, or None where a setting is another, or is not known.

    Only GPAW's logs name the pseudopotentials by their content; without that no calculation is the same.

    Args:
        code: the program.
        functional: as in ``Level.xc``.
        crystal: what the k-point grid was made for: the structure before relaxation.
        settings: see :class:`materia.data.calculations.Calculation`.
    """
    if code != "gpaw":
        return None
    for level in LEVELS.values():
        if level.engine == code and level.xc == functional and _agrees(level, crystal, settings):
            return level
    return None


def _agrees(level: Level, crystal: Crystal, settings: Mapping[str, Any]) -> bool:
    same = (
        math.isclose(settings["cutoff_ev"], level.cutoff_ev),
        tuple(settings["kpoints"]) == grid_size(crystal, level.kpoint_density) and settings["gamma"],
        settings["smearing"] == "fermi-dirac" and math.isclose(settings["smearing_ev"], level.smearing_ev),
        settings["spin"] == level.spin,
        not level.hubbard_u,
        not settings["parameters"],
    )
    return all(same) and settings["pseudopotentials"] == _fingerprints(crystal, level)


def _fingerprints(crystal: Crystal, level: Level) -> dict[str, str]:
    from materia.simulation.engines.gpaw import setup_fingerprint

    try:
        return {element: setup_fingerprint(element, level.xc) for element in crystal.elements}
    except EngineError:  # a dataset that is not here is not the one that was used
        return {}


def key_at(recipe: str, crystal: Crystal, level: Level) -> str:
    """The key of the job that would compute this.

    Raises:
        EngineError: no pseudopotential for an element.
    """
    return key_with(recipe, crystal, level_for(recipe, level), engine(level.engine))
