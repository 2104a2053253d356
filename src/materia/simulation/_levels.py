"""Levels of theory: every setting behind a value, under one name and one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from materia.errors import ConfigError
from materia.simulation._potentials import PRESETS, Potential, PotentialSettings, found_here

_PLANE_WAVES = ("xc", "cutoff_ev", "kpoint_density", "path_density", "smearing_ev", "spin", "hubbard_u")


class Level(BaseModel):
    """Every setting that a computed value depends on: those of plane waves, or an interatomic potential.

    The engine's version is provenance, not level; the digests of the PAW sets are added per job
    (:func:`level_hash`), since they depend on the elements in it. Of a potential, versions and weights are level:
    nothing else says what it computes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    engine: str = "gpaw"
    fidelity: str = "PBE"
    xc: str = "PBE"
    cutoff_ev: float = Field(0.0, ge=0, description="plane-wave cutoff, eV")
    kpoint_density: float = Field(0.0, ge=0, description="k-points per 1/Å along each reciprocal vector (2π included)")
    path_density: float = Field(0.0, ge=0, description="points per 1/Å along the band path (2π included)")
    smearing_ev: float = Field(0.0, ge=0, description="Fermi-Dirac width, eV; energies are extrapolated to zero width")
    spin: str = "closed shell"
    hubbard_u: Mapping[str, float] = Field(default_factory=dict)
    force_tolerance: float = Field(gt=0, description="largest force left after relaxation, eV/Å")
    stress_tolerance: float = Field(gt=0, description="largest stress component left after relaxation, GPa")
    potential: Potential | None = Field(None, description="instead of plane waves: what engine ase computes with")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Level:
        if self.potential is None and not (self.cutoff_ev and self.kpoint_density and self.path_density):
            raise ValueError("a level without a potential needs cutoff_ev, kpoint_density and path_density")
        return self

    @model_serializer(mode="wrap")
    def _stated(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Only what applies. So the hash of a plane-wave level is what it was before there were potentials."""
        absent = ("potential",) if self.potential is None else _PLANE_WAVES
        content: dict[str, Any] = handler(self)
        return {name: value for name, value in content.items() if name not in absent}


# Cutoffs, densities and smearing were chosen by experiments/convergence; how far the results of each are from converged
# ones was measured by experiments/benchmarks/protocols (figures in docs/level.md).
STANDARD = Level(
    name="standard",
    cutoff_ev=800.0,
    kpoint_density=3.5,
    path_density=8.0,
    smearing_ev=0.05,
    force_tolerance=0.02,
    stress_tolerance=0.1,
)
# For sifting many candidates. At 600 eV, which is a quarter cheaper still, relaxed oxides and nitrides came out 1 % too
# small.
SCREEN = Level(
    name="screen",
    cutoff_ev=700.0,
    kpoint_density=2.5,
    path_density=5.0,
    smearing_ev=0.05,
    force_tolerance=0.05,
    stress_tolerance=0.2,
)
# For what is published.
STRICT = Level(
    name="strict",
    cutoff_ev=1000.0,
    kpoint_density=5.0,
    path_density=12.0,
    smearing_ev=0.05,
    force_tolerance=0.01,
    stress_tolerance=0.05,
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
PROTOCOLS = (ROUGH, SCREEN, STANDARD, STRICT)


def _with(program: str) -> dict[str, Level]:
    """The same settings for another program; its pseudopotentials are the user's, so these are levels of their own."""
    names = {f"{program}-{one.name}": one for one in PROTOCOLS}
    return {name: one.model_copy(update={"name": name, "engine": program}) for name, one in names.items()}


LEVELS = {**{one.name: one for one in PROTOCOLS}, **_with("espresso"), **_with("vasp")}
ESPRESSO_STANDARD, ESPRESSO_ROUGH = LEVELS["espresso-standard"], LEVELS["espresso-rough"]
VASP_STANDARD, VASP_ROUGH = LEVELS["vasp-standard"], LEVELS["vasp-rough"]

POTENTIAL_FIDELITY = "potential"


def level(name: str, potentials: Mapping[str, PotentialSettings] | None = None) -> Level:
    """The level of that name.

    Args:
        name: of one of ours, of a potential that has a name here, or of one of ``potentials``.
        potentials: name -> potential, as a campaign file names them.

    Raises:
        ConfigError: there is none; the message lists those there are.
        EngineError: weights that a potential names are not there.
    """
    named = {**PRESETS, **(potentials or {})}
    if name in LEVELS:
        return LEVELS[name]
    if name not in named:
        raise ConfigError(f"unknown level {name!r}", remedy=f"use one of: {', '.join([*LEVELS, *named])}")
    return potential_level(name, named[name])


def potential_level(name: str, settings: PotentialSettings) -> Level:
    """The level of a potential as this machine has it.

    Raises:
        EngineError: weights that it names are not there.
    """
    return Level(
        name=name,
        engine="ase",
        fidelity=POTENTIAL_FIDELITY,
        force_tolerance=settings.force_tolerance,
        stress_tolerance=settings.stress_tolerance,
        potential=found_here(settings),
    )


def level_hash(chosen: Level, pseudopotentials: Mapping[str, str] | None = None) -> str:
    """Hash of every setting, and of the pseudopotential digests where they are given (12 hex digits)."""
    settings: dict[str, Any] = chosen.model_dump(exclude={"name"})
    settings["pseudopotentials"] = dict(sorted((pseudopotentials or {}).items()))
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
