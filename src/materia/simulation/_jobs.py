"""Jobs: one recipe on one structure at one level, keyed by exactly that."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from materia.crystal import Crystal, structure_hash
from materia.record import JobSpec, Resources
from materia.simulation._cost import cautious_memory_mb, cost_features, estimate_memory_mb, estimate_seconds
from materia.simulation._levels import Level, level_hash
from materia.simulation.engines import engine
from materia.simulation.recipes import recipe

WALLTIME_FACTOR = 8.0
MIN_WALLTIME_S = 600


def job_key(recipe_name: str, crystal: Crystal, hash_of_level: str) -> str:
    """Hash of recipe, structure (coordinates rounded as in :func:`materia.crystal.structure_hash`) and level."""
    text = json.dumps([recipe_name, structure_hash(crystal), hash_of_level])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def make_job(recipe_name: str, crystal: Crystal, level: Level, *, name: str = "") -> JobSpec:
    """The job that runs a recipe on a crystal.

    Raises:
        ConfigError: unknown recipe.
        EngineError: unknown engine, or no pseudopotential for an element.
    """
    recipe(recipe_name)
    program = engine(level.engine)
    digest = level_hash(level, program.pseudopotentials(crystal.elements, level))
    key = job_key(recipe_name, crystal, digest)
    features = cost_features(crystal, level, program.n_electrons(crystal, level))
    seconds = estimate_seconds(recipe_name, features)
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
        argv=("python", "-m", "materia.simulation.worker"),
        payload=payload,
        features={**features, "estimate_s": seconds, "estimate_mb": estimate_memory_mb(features)},
        resources=Resources(1, cautious_memory_mb(features), max(MIN_WALLTIME_S, int(WALLTIME_FACTOR * seconds))),
        name=name or f"{crystal.formula}/{recipe_name}",
        family=f"{recipe_name} {program.name}",
    )
