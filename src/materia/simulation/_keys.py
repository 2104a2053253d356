"""What makes two calculations the same."""

from __future__ import annotations

import hashlib
import json

from materia.crystal import Crystal, structure_hash
from materia.simulation._levels import Level, level_hash
from materia.simulation.engines import Engine


def job_key(recipe_name: str, crystal: Crystal, hash_of_level: str) -> str:
    """Hash of recipe, structure (coordinates rounded as in :func:`materia.crystal.structure_hash`) and level."""
    text = json.dumps([recipe_name, structure_hash(crystal), hash_of_level])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def key_with(recipe_name: str, crystal: Crystal, level: Level, program: Engine) -> str:
    """The key of the job that would compute this with the pseudopotentials of this machine.

    Raises:
        EngineError: no pseudopotential for an element.
    """
    return job_key(recipe_name, crystal, level_hash(level, program.pseudopotentials(crystal.elements, level)))
