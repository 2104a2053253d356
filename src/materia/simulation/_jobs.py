"""Jobs: one recipe on one structure at one level, keyed by exactly that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from materia.compute import LAUNCH
from materia.crystal import Crystal
from materia.errors import EngineError
from materia.record import JobSpec, Resources
from materia.simulation._cost import cautious_memory_mb, cost_features, estimate_memory_mb, estimate_seconds
from materia.simulation._keys import job_key
from materia.simulation._levels import Level, level_hash
from materia.simulation._ranks import useful_ranks
from materia.simulation.engines import Engine, engine
from materia.simulation.recipes import ONE_RANK, level_for, recipe, suits

WALLTIME_FACTOR = 8.0
MIN_WALLTIME_S = 600
WAVES_PER_RANK = 250  # at least, where ranks share a k-point: a choice that keeps ranks busy, not a measured optimum


def _useful(most: int, n_kpoints: int, features: Mapping[str, float], program: Engine) -> int:
    """Ranks to ask for. Whether plane waves can be shared out is only asked where there are ranks left for it."""
    if most <= n_kpoints:
        return useful_ranks(n_kpoints, most)
    offered = program.capabilities().features
    if not (offered.get("scalapack") or offered.get("planewaves")):
        return useful_ranks(n_kpoints, most)
    return useful_ranks(n_kpoints, most, max(1, int(features["n_planewaves"] / WAVES_PER_RANK)))


def make_job(recipe_name: str, crystal: Crystal, level: Level, *, name: str = "", ranks: int = 1) -> JobSpec:
    """The job that runs a recipe on a crystal, on as many of ``ranks`` as shorten it, with one core each.

    How many ranks compute it is no part of its key. Whether the engine can do the recipe on this machine is not asked
    here (:func:`materia.simulation.lacking`).

    Raises:
        ConfigError: unknown recipe.
        EngineError: unknown engine, one that cannot do this recipe, or no pseudopotential for an element.
    """
    recipe(recipe_name)
    program = engine(level.engine)
    if why_not := suits(recipe_name, program.electrons):
        raise EngineError(f"{recipe_name} at level {level.name!r}: {why_not}", remedy="use a level of the other kind")
    level = level_for(recipe_name, level)
    digest = level_hash(level, program.pseudopotentials(crystal.elements, level))
    key = job_key(recipe_name, crystal, digest)
    features = cost_features(crystal, level, program.n_electrons(crystal, level))
    seconds = estimate_seconds(recipe_name, features)
    n_kpoints = 1 if recipe_name == "molecule" else int(features.get("n_kpoints", 1))
    ranks = _useful(ranks, n_kpoints, features, program) if program.electrons and recipe_name not in ONE_RANK else 1
    memory_mb = cautious_memory_mb(recipe_name, features, ranks)
    walltime_s = int(WALLTIME_FACTOR * seconds / ranks)
    payload: dict[str, Any] = {
        "version": 1,
        "key": key,
        "recipe": recipe_name,
        "structure": crystal.to_record(),
        "level": level.model_dump(mode="json"),
        "level_hash": digest,
        "name": name,
    }
    return JobSpec(
        key=key,
        argv=("python", "-m", "materia.simulation.worker", *([LAUNCH] if program.own_ranks else [])),
        payload=payload,
        features={**features, "estimate_s": seconds, "estimate_mb": estimate_memory_mb(recipe_name, features, ranks)},
        resources=Resources(ranks, memory_mb, max(MIN_WALLTIME_S, walltime_s), ranks),
        name=name or f"{crystal.formula}/{recipe_name}",
        family=f"{recipe_name} {program.name if level.potential is None else level.potential.package}",
    )
