"""From settings to the frozen pool: assign, build, filter, deduplicate; count what each step leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from materia.crystal import Crystal, same_phase, structure_hash, validate
from materia.errors import MateriaError, SpaceError
from materia.record import Candidate
from materia.space._assignments import Assignment, assignments
from materia.space._build import build_prototype
from materia.space._files import read_candidates
from materia.space._pool import Pool
from materia.space._prototypes import PROTOTYPES, Prototype
from materia.space._settings import SpaceSettings


def generate(settings: SpaceSettings, *, progress: bool = False) -> Pool:
    """All candidates of a chemical space, validated and deduplicated, in a fixed order.

    The same settings and files give the same pool and hash. A structure that cannot be built or is not
    physical goes to ``pool.quarantine`` with its name and reason; the others go on.

    Args:
        settings: what to generate.
        progress: show a progress bar.

    Raises:
        SpaceError: nothing is left; the message names the filter that removed the last candidate.
        StructureError: a structure file named in the settings is missing or bad.
    """
    funnel: dict[str, int] = {}
    chosen = _unique_assignments(settings, funnel)
    own, quarantine = read_candidates(settings.files)
    if settings.files:
        own = _filter_own(own, settings)
        funnel["with the structures from files"] = len(chosen) + len(own)
    _refuse_empty(funnel, chosen or own)
    candidates: dict[str, Candidate] = {}
    hashes: set[str] = set()
    files_by_formula: dict[str, list[Crystal]] = {}
    for candidate in own:
        digest = structure_hash(candidate.crystal)
        if digest not in hashes:
            hashes.add(digest)
            candidates[candidate.id] = candidate
            files_by_formula.setdefault(candidate.formula, []).append(candidate.crystal)
    valid = len(own)
    for assignment in _track(chosen, progress):
        try:
            candidate = _candidate(assignment)
        except MateriaError as error:
            name = f"{assignment.prototype.name} {' '.join(assignment.species)}"
            quarantine.append({"name": name, "reason": error.what})
            continue
        valid += 1
        digest = structure_hash(candidate.crystal)
        if digest in hashes or any(
            same_phase(candidate.crystal, other) for other in files_by_formula.get(candidate.formula, [])
        ):
            continue
        hashes.add(digest)
        if candidate.id in candidates:  # a file of the user's that is named like a prototype
            candidate = replace(candidate, id=f"{candidate.id}-generated")
        candidates[candidate.id] = candidate
    funnel["physically possible"] = valid
    funnel["different from each other"] = len(candidates)
    _refuse_empty(funnel, candidates)
    steps = [{"step": step, "n": n} for step, n in funnel.items()]
    ordered = sorted(candidates.values(), key=lambda c: c.id)
    return Pool.freeze(ordered, steps, quarantine, settings.model_dump(mode="json"))


def _prototypes(settings: SpaceSettings) -> list[Prototype]:
    names = PROTOTYPES if settings.prototypes is None else settings.prototypes
    found = [PROTOTYPES[n] for n in dict.fromkeys(names) if len(PROTOTYPES[n].roles) > 1]
    if not found:
        return []
    fit = [p for p in found if len(p.roles) in settings.arity and p.n_atoms <= settings.max_atoms]
    if not fit and not settings.files:
        raise SpaceError(
            f"no prototype has {' or '.join(map(str, settings.arity))} elements and at most {settings.max_atoms} atoms",
            where="space.arity, space.max_atoms",
            remedy="; ".join(f"{p.name}: {len(p.roles)} elements, {p.n_atoms} atoms" for p in found[:6]),
        )
    return fit


def _unique_assignments(settings: SpaceSettings, funnel: dict[str, int]) -> list[Assignment]:
    found: dict[tuple[str, tuple[str, ...]], Assignment] = {}
    for proto in _prototypes(settings):
        for assignment in assignments(settings, proto, funnel):
            kept = found.get(assignment.key)
            if kept is None or (assignment.standard and not kept.standard):
                found[assignment.key] = assignment
    if funnel:
        funnel["one of each assignment"] = len(found)
    return list(found.values())


def _filter_own(own: list[Candidate], settings: SpaceSettings) -> list[Candidate]:
    banned = frozenset[str]().union(*settings.excluded.values())
    allowed = None if settings.elements is None else frozenset(settings.elements)
    return [
        c
        for c in own
        if len(c.crystal.elements) in settings.arity
        and c.crystal.n_atoms <= settings.max_atoms
        and not banned.intersection(c.crystal.elements)
        and (allowed is None or allowed.issuperset(c.crystal.elements))
    ]


def _candidate(assignment: Assignment) -> Candidate:
    proto, species = assignment.prototype, assignment.species
    crystal = validate(build_prototype(proto.name, species))
    name = f"{crystal.formula}-{proto.name}"
    if not assignment.standard:
        name += "-" + "".join(species)
    charges = dict(zip(species, assignment.charges, strict=True))
    return Candidate(name, crystal, proto.name, {"generator": "prototypes", "species": species, "charges": charges})


def _refuse_empty(funnel: dict[str, int], left: object) -> None:
    if left:
        return
    before = "nothing was asked for"
    for step, n in funnel.items():
        if n == 0:
            raise SpaceError(
                f"the pool is empty: {step!r} removed the last of {before}",
                where="space",
                remedy="widen the space: more elements or prototypes, fewer exclusions",
            )
        before = f"{n} candidates"
    raise SpaceError(
        "the space holds neither prototypes nor files", where="space", remedy="set space.prototypes or space.files"
    )


def _track(items: list[Assignment], progress: bool) -> Iterable[Assignment]:
    if not progress:
        return items
    from rich.progress import track

    return track(items, description="Generating candidates", transient=True)
