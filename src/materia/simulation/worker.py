"""The program of one job: reads ``job.json`` in its folder, computes, publishes ``result.json`` by rename.

Started as ``python -m materia.simulation.worker`` with the attempt folder as working directory, on one rank or on
several that compute together; the first of them writes. Arguments are the launcher of an engine that starts its ranks
itself (``Engine.own_ranks``). A failure of the science is a result; only a bug or a killed process leaves no
``result.json``.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from materia.crystal import Crystal, validate
from materia.errors import MateriaError
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import Level, level_hash
from materia.simulation._ranks import ALONE, LAUNCHER, World, ranks_wanted
from materia.simulation.engines import Engine, engine
from materia.simulation.recipes import CLOSED_SHELL, lacking, recipe

RESULT_VERSION = 1


def run(folder: Path) -> dict[str, Any]:
    """Run the job in ``folder``; returns what was published as ``result.json``."""
    job = json.loads((folder / "job.json").read_text())
    wall, cpu = time.monotonic(), _cpu_s()
    result: dict[str, Any] = {
        "version": RESULT_VERSION,
        "key": job["key"],
        "attempt": job.get("attempt", 1),
        "status": "failed",
        "reason": "",
        "message": "",
        "values": {},
    }
    remedies: list[str] = []
    provenance: dict[str, Any] = {"host": platform.node(), "python": platform.python_version()}
    level = Level.model_validate(job["level"])
    program, world = engine(level.engine), ALONE
    try:
        world = program.world()
        if os.environ.get("MATERIA_PREVIOUS_ATTEMPT"):
            _carry_over(folder, world, provenance)
        result["values"] = _compute(job, level, program, folder, provenance, remedies)
        result["status"] = "completed"
    except Failure as failure:
        result |= {"reason": failure.reason.value, "message": failure.message}
        result["retryable"] = failure.reason.retryable
        if failure.reason is Reason.UNEXPECTED:
            (folder / "traceback.txt").write_text(traceback.format_exc())
    cpu_s, completed = _cpu_s() - cpu, result["status"] == "completed"
    provenance |= {
        "remedies": remedies,
        "wall_s": time.monotonic() - wall,
        "cpu_s": world.sum_scalar(cpu_s) if completed else cpu_s,  # the others may not come to an end
        "ranks": ranks_wanted() if program.own_ranks else world.size,
    }
    result["provenance"] = provenance
    if world.rank == 0 or not completed:
        publish(folder / "result.json", result)
    if world.size > 1 and not completed:
        world.abort(1)  # a rank that failed alone must not leave the others waiting for it
    return result


def _cpu_s() -> float:
    """CPU seconds of this process and of the programs it started and saw end."""
    return sum(os.times()[:4])


def _carry_over(folder: Path, world: World, provenance: dict[str, Any]) -> None:
    """The first rank takes the checkpoint of the attempt before; the others wait, then all read it."""
    from materia.simulation._checkpoint import carry_over

    if world.rank == 0:
        provenance["geometries_taken_over"] = carry_over(folder)
    world.barrier()


def _compute(
    job: dict[str, Any], level: Level, program: Engine, folder: Path, provenance: dict[str, Any], remedies: list[str]
) -> dict[str, Any]:
    capabilities = program.capabilities(level)
    if not capabilities.available:
        raise Failure(Reason.ENGINE_MISSING, f"{capabilities.missing}; {capabilities.remedy}")
    if lacks := lacking(job["recipe"], program.name, capabilities):
        raise Failure(Reason.ENGINE_MISSING, "; ".join(lacks))
    provenance |= {"engine": program.name, "versions": program.versions()}
    try:
        crystal = validate(Crystal.from_record(job["structure"]))
        digests = program.pseudopotentials(crystal.elements, level)
    except MateriaError as error:
        overlap = "overlap" in error.what or "denser" in error.what
        raise Failure(Reason.ATOMS_OVERLAP if overlap else Reason.MISSING_PSEUDOPOTENTIAL, error.what) from error
    if level_hash(level, digests) != job["level_hash"]:
        raise Failure(
            Reason.MISSING_PSEUDOPOTENTIAL,
            "the pseudopotentials, or the potential, on this machine are not those of the job (other digests)",
        )
    provenance["pseudopotentials"] = digests
    if choices := program.choices(crystal, level):
        provenance["choices"] = choices
    if program.n_electrons(crystal, level) % 2 and job["recipe"] in CLOSED_SHELL:
        raise Failure(Reason.OPEN_SHELL, "an odd number of electrons: open shells are outside this version")
    remedy = ""
    while True:
        try:
            return recipe(job["recipe"])(crystal, level, program, folder, remedy=remedy)
        except Exception as error:  # whatever the engine raises becomes a typed failure
            failure = program.classify(error)
            remedy = program.remedy(failure.reason) or ""
            if not remedy or remedy in remedies:
                raise failure from error
            remedies.append(remedy)


def publish(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that the file is either absent or whole: temporary name, fsync, rename."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")  # ranks that fail write at the same time
    with temporary.open("w") as handle:
        json.dump(content, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def main() -> int:
    """0 whenever a result was published: a failed calculation is a value, not an error of the program."""
    os.environ[LAUNCHER] = shlex.join(sys.argv[1:])
    run(Path.cwd())
    return 0


if __name__ == "__main__":
    sys.exit(main())
