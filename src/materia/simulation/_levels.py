"""Levels of theory: every setting behind a value, under one name and one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from materia.errors import ConfigError


class Level(BaseModel):
    """Every setting that a computed value depends on.

    The engine's version is provenance, not level; the digests of the PAW sets are added per job
    (:func:`level_hash`), since they depend on the elements in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    engine: str = "gpaw"
    fidelity: str = "PBE"
    xc: str = "PBE"
    cutoff_ev: float = Field(gt=0, description="plane-wave cutoff, eV")
    kpoint_density: float = Field(gt=0, description="k-points per 1/Å along each reciprocal vector (2π included)")
    path_density: float = Field(gt=0, description="points per 1/Å along the band path (2π included)")
    smearing_ev: float = Field(ge=0, description="Fermi-Dirac width, eV; energies are extrapolated to zero width")
    spin: str = "closed shell"
    hubbard_u: Mapping[str, float] = Field(default_factory=dict)
    force_tolerance: float = Field(gt=0, description="largest force left after relaxation, eV/Å")
    stress_tolerance: float = Field(gt=0, description="largest stress component left after relaxation, GPa")


# Cutoff, density and smearing were chosen by experiments/convergence (figures in docs/level.md).
STANDARD = Level(
    name="standard",
    cutoff_ev=800.0,
    kpoint_density=3.5,
    path_density=8.0,
    smearing_ev=0.05,
    force_tolerance=0.02,
    stress_tolerance=0.1,
)
# Only for trying things out: two-atom cells in a second or two, energies not comparable to ``standard``.
ROUGH = Level(
    name="rough",
    cutoff_ev=350.0,
    kpoint_density=1.6,
    path_density=2.0,
    smearing_ev=0.05,
    force_tolerance=0.1,
    stress_tolerance=2.0,
)
# The same settings for pw.x; its pseudopotentials are the user's, so these are levels of their own.
ESPRESSO_STANDARD = STANDARD.model_copy(update={"name": "espresso-standard", "engine": "espresso"})
ESPRESSO_ROUGH = ROUGH.model_copy(update={"name": "espresso-rough", "engine": "espresso"})

LEVELS = {level.name: level for level in (STANDARD, ROUGH, ESPRESSO_STANDARD, ESPRESSO_ROUGH)}


def level(name: str) -> Level:
    """The level of that name.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if name not in LEVELS:
        raise ConfigError(f"unknown level {name!r}", remedy=f"use one of: {', '.join(LEVELS)}")
    return LEVELS[name]


def level_hash(chosen: Level, pseudopotentials: Mapping[str, str] | None = None) -> str:
    """Hash of every setting, and of the pseudopotential digests where they are given (12 hex digits)."""
    settings: dict[str, Any] = chosen.model_dump(exclude={"name"})
    settings["pseudopotentials"] = dict(sorted((pseudopotentials or {}).items()))
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
