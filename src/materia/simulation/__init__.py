"""Simulation: levels, engines, recipes, and what goes wrong in them."""

from materia.simulation._cost import cost_features, estimate_seconds
from materia.simulation._expected_error import ExpectedError, expected_error
from materia.simulation._failures import Failure, Reason
from materia.simulation._jobs import make_job
from materia.simulation._keys import job_key
from materia.simulation._levels import (
    ESPRESSO_ROUGH,
    ESPRESSO_STANDARD,
    LEVELS,
    PROTOCOLS,
    ROUGH,
    SCREEN,
    STANDARD,
    STRICT,
    VASP_ROUGH,
    VASP_STANDARD,
    Level,
    level,
    level_hash,
    potential_level,
)
from materia.simulation._potentials import PRESETS, Potential, PotentialSettings
from materia.simulation._recognise import key_at, recognise
from materia.simulation.engines import Capabilities, Engine, engine
from materia.simulation.recipes import RECIPES, lacking, level_for, recipe, suits

__all__ = [
    "ESPRESSO_ROUGH",
    "ESPRESSO_STANDARD",
    "LEVELS",
    "PRESETS",
    "PROTOCOLS",
    "RECIPES",
    "ROUGH",
    "SCREEN",
    "STANDARD",
    "STRICT",
    "VASP_ROUGH",
    "VASP_STANDARD",
    "Capabilities",
    "Engine",
    "ExpectedError",
    "Failure",
    "Level",
    "Potential",
    "PotentialSettings",
    "Reason",
    "cost_features",
    "engine",
    "estimate_seconds",
    "expected_error",
    "job_key",
    "key_at",
    "lacking",
    "level",
    "level_for",
    "level_hash",
    "make_job",
    "potential_level",
    "recipe",
    "recognise",
    "suits",
]
