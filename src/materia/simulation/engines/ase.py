"""Interatomic potentials: any ASE calculator (Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)).

A level names the calculator by import path, with its arguments. That path comes from the user's campaign file, and what
it names is imported and called in the job's process, nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import Level
from materia.simulation._potentials import PRESETS, Potential, found_here, identity
from materia.simulation._ranks import ALONE, World, ranks_wanted
from materia.simulation.engines._protocol import Bands, Capabilities

if TYPE_CHECKING:
    from ase import Atoms


class ASEEngine:
    """Runs in the job's own process; the driver asks only for capabilities and digests, which import nothing."""

    name = "ase"
    electrons = False
    own_ranks = False

    def capabilities(self, level: Level | None = None) -> Capabilities:
        found, named = version("ase"), {name: bool(found_here(one).packages) for name, one in PRESETS.items()}
        if level is None or level.potential is None:
            return Capabilities(True, found, named)
        potential = level.potential
        try:
            here = found_here(potential)
        except EngineError as error:
            return Capabilities(False, found, named, missing=error.what, remedy=error.remedy or "")
        if not here.packages and not here.files:
            missing = f"the Python module {potential.package!r} of the potential {level.name!r} is not installed"
            remedy = f"{potential.install} (a module of your own: put its folder on PYTHONPATH)"
            return Capabilities(False, found, named, missing=missing, remedy=remedy)
        return Capabilities(True, ", ".join(here.packages.values()) or found, named)

    def world(self) -> World:
        if ranks_wanted() > 1:
            raise Failure(Reason.ENGINE_MISSING, f"a potential runs on one rank, and {ranks_wanted()} were started")
        return ALONE

    def pseudopotentials(self, elements: Sequence[str], level: Level) -> dict[str, str]:
        """One digest for all elements: that of the potential as it is on this machine."""
        potential = _of(level)
        unknown = sorted(set(elements) - set(potential.elements or elements))
        if unknown:
            raise EngineError(
                f"the potential {level.name!r} does not know {', '.join(unknown)}",
                where=potential.calculator,
                remedy="leave the element out of the space, or use another potential",
            )
        return dict.fromkeys(sorted(set(elements)), identity(found_here(potential)))

    def n_electrons(self, crystal: Crystal, level: Level) -> int:
        return 0

    def choices(self, crystal: Crystal, level: Level) -> dict[str, Any]:
        return {}

    def calculator(self, crystal: Crystal, level: Level, log: Path, *, remedy: str = "", **overrides: Any) -> Any:
        """
        Raises:
            Failure: the path names nothing, or what it names does not take the arguments.
        """
        potential = _of(level)
        if overrides:
            raise TypeError(f"a potential takes no {', '.join(overrides)}")
        _, _, name = potential.calculator.partition(":")
        try:
            made: Any = import_module(potential.module)
            for part in name.split("."):
                made = getattr(made, part)
        except (ImportError, AttributeError) as error:
            raise Failure(Reason.ENGINE_MISSING, f"{potential.calculator} cannot be imported: {error}") from error
        try:
            return made(**potential.arguments)
        except TypeError as error:
            raise Failure(Reason.UNSUPPORTED, f"{potential.calculator} does not take its arguments: {error}") from error

    def bands(self, atoms: Atoms, level: Level, log: Path) -> Bands:
        raise Failure(Reason.UNSUPPORTED, f"the potential {level.name!r} has no electrons, and so no bands")

    def classify(self, error: BaseException) -> Failure:
        text = f"{type(error).__name__}: {error}".strip(": ")
        if isinstance(error, Failure):
            return error
        if isinstance(error, MemoryError) or "out of memory" in text:  # torch's is a RuntimeError
            return Failure(Reason.OUT_OF_MEMORY, text)
        if isinstance(error, np.linalg.LinAlgError) or "large deformation gradient" in text:  # the latter: FixSymmetry
            return Failure(Reason.GEOMETRY_EXPLODED, f"a step of the relaxation made no sense ({text})")
        if isinstance(error, NotImplementedError) or (isinstance(error, ValueError) and "isolated" in text):
            return Failure(Reason.UNSUPPORTED, text)
        if isinstance(error, ImportError):
            return Failure(Reason.ENGINE_MISSING, text)
        return Failure(Reason.UNEXPECTED, text)

    def remedy(self, reason: Reason) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        """The potential's own stand in the level."""
        return {name: version(name) for name in ("ase", "numpy", "scipy", "spglib", "torch")}


def _of(level: Level) -> Potential:
    """
    Raises:
        EngineError: the level names no potential.
    """
    if level.potential is None:
        raise EngineError(f"the level {level.name!r} names no potential", remedy="name one under ladder.potentials")
    return level.potential
