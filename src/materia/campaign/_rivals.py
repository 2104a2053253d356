"""Compounds beside the pool that candidates have to hold their own against: predicted with it, never chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from materia import quantities as q
from materia.campaign._settings import CampaignSettings
from materia.crystal import Crystal, same_phase, structure_hash
from materia.data import Dataset
from materia.elements import closed_shell_charges
from materia.errors import SpaceError
from materia.record import Candidate
from materia.simulation import level_hash
from materia.space import Pool, SpaceSettings, generate

FOLDER = "rivals"
MOST = 10_000  # predicting as many is the price of a pool of that size, every round


def rivals_of(settings: CampaignSettings, pool: Pool, dataset: Dataset, known: Pool | None) -> Pool | None:
    """What candidates may fall apart into, or be another structure of, and the pool does not hold.

    These are the charge-balanced compounds of each candidate's own elements in all prototypes, up to the space's
    ``max_atoms`` or its default if that is more, and known phases from files; without what the dataset knows at the
    campaign's level. Where they are more than ``MOST``, only those of the fewest elements.

    Args:
        known: phases from files, of the candidates' elements.

    Returns:
        None where there are none, or the campaign measures no predicted distance from them.
    """
    if not settings.expects_hull or settings.surrogate is None:
        return None
    hashes = {structure_hash(candidate.crystal) for candidate in pool.candidates}
    alike = _computed(settings, dataset)
    for candidate in pool.candidates:
        if candidate.origin.get("generator") != "prototypes":  # two of the generator's are told apart by their hashes
            alike.setdefault(candidate.formula, []).append(candidate.crystal)
    found: dict[str, Candidate] = {}
    for candidate in [*(known.candidates if known is not None else ()), *_generated(settings, pool)]:
        digest, others = structure_hash(candidate.crystal), alike.get(candidate.formula, ())
        if digest in hashes or any(same_phase(candidate.crystal, other) for other in others):
            continue
        hashes.add(digest)
        if candidate.origin.get("generator") != "prototypes":
            alike.setdefault(candidate.formula, []).append(candidate.crystal)
        name = candidate.id if candidate.id not in found else f"{candidate.id}-generated"
        found[name] = replace(candidate, id=name)
    kept = _fewest_elements(list(found.values()))
    return Pool.freeze(sorted(kept, key=lambda candidate: candidate.id)) if kept else None


def load_rivals(folder: Path) -> Pool | None:
    """The rivals that a campaign folder keeps; None where it has none, as those of older versions."""
    return Pool.load(folder / FOLDER) if (folder / FOLDER / "pool.json").is_file() else None


def _generated(settings: CampaignSettings, pool: Pool) -> Iterator[Candidate]:
    """Compounds in the prototypes whose elements are all in one candidate."""
    systems = set(_systems(pool.compositions))
    elements = tuple(sorted(element for element in set().union(*systems) if closed_shell_charges(element)))
    arity = tuple(range(2, max(map(len, systems), default=0) + 1))
    if len(elements) < 2 or not arity:
        return
    max_atoms = max(settings.space.max_atoms, SpaceSettings().max_atoms)
    space = SpaceSettings(elements=elements, exclude=(), arity=arity, max_atoms=max_atoms)
    try:
        made = generate(space).candidates
    except SpaceError:  # no prototype fits these elements
        return
    yield from (candidate for candidate in made if frozenset(candidate.crystal.elements) in systems)


def _systems(compositions: Iterable[dict[str, int]]) -> Iterator[frozenset[str]]:
    """The chemical systems of the candidates, and all those within them."""
    for system in {frozenset(composition) for composition in compositions}:
        for n in range(2, len(system) + 1):
            yield from map(frozenset, combinations(sorted(system), n))


def _computed(settings: CampaignSettings, dataset: Dataset) -> dict[str, list[Crystal]]:
    """Formula -> structures, before relaxation, whose formation energy the dataset has at the campaign's level."""
    digest = level_hash(settings.ladder.own)
    found: dict[str, list[Crystal]] = {}
    for entry in dataset.computed:
        if any(x.quantity == q.FORMATION_ENERGY and x.level_hash == digest for x in entry.labels):
            found.setdefault(entry.formula, []).append(entry.initial)
    return found


def _fewest_elements(candidates: list[Candidate]) -> list[Candidate]:
    kept: list[Candidate] = []
    for n in sorted({len(candidate.crystal.elements) for candidate in candidates}):
        more = [candidate for candidate in candidates if len(candidate.crystal.elements) == n]
        if kept and len(kept) + len(more) > MOST:
            break
        kept += more
    return kept
