"""Competing phases: what a candidate could fall apart into, or be another polymorph of; which of them are computed.

They come from two places: the charge-balanced compounds of the candidate's own elements in the prototypes, and known
phases that the user gives as files. The elements themselves are the references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.campaign._database import CampaignDatabase
from materia.campaign._labels import formation_energy
from materia.campaign._rungs import CompetingSettings, LadderSettings
from materia.compute import Ledger
from materia.crystal import Crystal, same_phase
from materia.elements import closed_shell_charges
from materia.errors import SpaceError
from materia.record import Candidate, JobSpec, Outcome
from materia.simulation import Level, cost_features, engine, estimate_seconds, make_job
from materia.space import Pool, SpaceSettings, generate
from materia.stability import Hull, References

RECIPE = "relax"
FOLDER = "competing"


@dataclass(frozen=True)
class Phase:
    """A phase that a candidate is held against.

    Attributes:
        name: ``FORMULA-PROTOTYPE``, or that of its file.
        prototype: name of the prototype, or of the file.
        crystal: before relaxation.
        key: of the job that relaxes it.
        chance: to lie below the known hull, by the round's surrogate; None where nothing was predicted.
    """

    name: str
    prototype: str
    crystal: Crystal
    key: str
    chance: float | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Phase:
        crystal = Crystal.from_record(dict(row["crystal"]))
        return cls(row["name"], row["prototype"], crystal, row["key"], row["chance"])


def known_phases(settings: LadderSettings, candidates: Pool) -> Pool | None:
    """The phases in the files that the campaign file names, of the candidates' elements alone; None without files.

    Raises:
        StructureError: a file that is named is missing or bad.
        SpaceError: a folder or pattern that holds no structure file, or files that hold no phase of these elements.
    """
    wanted = settings.competing
    if wanted is None or not wanted.files:
        return None
    elements = set().union(*candidates.compositions)
    every = tuple(range(2, len(elements) + 1))
    read = SpaceSettings(prototypes=(), exclude=(), arity=every, max_atoms=wanted.max_atoms, files=wanted.files)
    pool = generate(read)
    kept = [candidate for candidate in pool.candidates if elements.issuperset(candidate.crystal.elements)]
    if not kept:
        raise SpaceError(
            f"none of the {len(pool)} phases in the files is made of elements of the candidates alone",
            where="ladder.competing.files",
            remedy="give the known phases of the chemical systems of this campaign, or leave files out",
        )
    return Pool.freeze(kept, quarantine=pool.quarantine)


def load_known(folder: Path) -> Pool | None:
    """The phases from files as a campaign folder keeps them."""
    return Pool.load(folder / FOLDER) if (folder / FOLDER / "pool.json").is_file() else None


def of_system(settings: CompetingSettings, elements: Sequence[str], known: Pool | None) -> tuple[Candidate, ...]:
    """Every phase of two elements or more that the settings name in a chemical system, those from files first.

    Args:
        elements: of the system.
        known: phases from files, of any elements.
    """
    listed = [] if known is None else [c for c in known.candidates if set(c.crystal.elements) <= set(elements)]
    names = {candidate.id for candidate in listed}
    for candidate in _generated(settings.prototypes, settings.max_atoms, tuple(sorted(elements))):
        if any(same_phase(candidate.crystal, other.crystal) for other in listed if other.formula == candidate.formula):
            continue
        listed.append(replace(candidate, id=f"{candidate.id}-generated") if candidate.id in names else candidate)
    return tuple(listed)


@cache
def _generated(prototypes: tuple[str, ...] | None, max_atoms: int, elements: tuple[str, ...]) -> tuple[Candidate, ...]:
    if prototypes == () or len(elements) < 2 or not all(map(closed_shell_charges, elements)):
        return ()  # an element without a closed-shell ion balances no charge
    space = SpaceSettings(
        elements=elements,
        exclude=(),
        prototypes=prototypes,
        arity=tuple(range(2, len(elements) + 1)),
        max_atoms=max_atoms,
    )
    try:
        return tuple(generate(space).candidates)
    except SpaceError:  # no prototype fits these elements: nothing is generated
        return ()


def to_compute(
    found: Sequence[Candidate],
    level: Level,
    *,
    unlike: Sequence[Crystal],
    least: float,
    predicted: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    hull: Hull,
) -> list[Phase]:
    """The phases that are worth computing.

    Args:
        found: phases of the candidate's chemical system.
        level: of the ladder.
        unlike: what is known already, and the candidate itself.
        least: chance to lie below the hull of what is known at its composition, at least.
        predicted: (mean (n,), std (n,)) of the formation energy of ``found``, eV/atom; None: all are computed.
        hull: of what is known.
    """
    chances: Sequence[float | None] = [None] * len(found)
    if predicted is not None and found:
        from scipy.stats import norm

        energies = hull.hull_energies([candidate.crystal.composition for candidate in found])
        chances = [float(x) for x in norm.cdf((energies - predicted[0]) / np.maximum(predicted[1], 1e-6))]
    chosen = []
    for candidate, chance in zip(found, chances, strict=True):
        alike = (crystal for crystal in unlike if crystal.formula == candidate.formula)
        if (chance is not None and chance < least) or any(same_phase(candidate.crystal, one) for one in alike):
            continue
        key = make_job(RECIPE, candidate.crystal, level).key
        chosen.append(Phase(candidate.id, candidate.prototype, candidate.crystal, key, chance))
    return chosen


def phase_job(phase: Phase, candidate_id: str, level: Level, *, stage: int, ranks: int) -> JobSpec:
    """The job that relaxes a phase; its key is that of the structure alone, so every candidate shares it."""
    name = f"{phase.name} (competes with {candidate_id})/competing"
    return replace(make_job(RECIPE, phase.crystal, level, name=name, ranks=ranks), stage=stage)


def compared(database: CampaignDatabase) -> dict[str, tuple[int, list[Phase]]]:
    """Candidate id -> its round, and the phases it is held against, for every candidate that got that far."""
    rows = database.phases()
    return {name: (number, [Phase.from_row(row) for row in content]) for name, number, content in rows}


def competing_energies(
    database: CampaignDatabase, references: References | None, *, wanted: Callable[[str, int], bool] | None = None
) -> list[tuple[Phase, Crystal, float]]:
    """Each competing phase that was computed, relaxed, with its formation energy (eV/atom).

    Args:
        wanted: by candidate id and round: whether what that candidate is held against is asked for; all by default.
    """
    ledger, found = Ledger(database.connection), {}
    for name, (number, phases) in compared(database).items():
        if wanted is not None and not wanted(name, number):
            continue
        for phase in phases:
            ended = relaxed(phase, ledger.outcome(phase.key))
            energy = None if ended is None else formation_energy(*ended, references)
            if ended is not None and energy is not None:
                found[phase.key] = (phase, ended[0], energy)
    return list(found.values())


def relaxed(phase: Phase, outcome: Outcome | None) -> tuple[Crystal, float] | None:
    """Structure and energy (eV/atom) that the job of a phase left; None where it did not end well."""
    if outcome is None or not outcome.ok:
        return None
    record = outcome.values.get("structure")
    crystal = phase.crystal if record is None else Crystal.from_record(dict(record))
    return crystal, float(outcome.values["energy_per_atom"])


def seconds_to_validate(settings: LadderSettings, crystal: Crystal, known: Pool | None) -> float:
    """CPU seconds that the competing phases of a candidate are expected to take if none of them is known or unlikely;
    0 without any."""
    if settings.competing is None:
        return 0.0
    level = settings.own
    program = engine(level.engine)
    total = 0.0
    for candidate in of_system(settings.competing, crystal.elements, known):
        if not same_phase(candidate.crystal, crystal):
            phase = candidate.crystal
            features = cost_features(phase, level, program.n_electrons(phase, level))
            total += estimate_seconds(RECIPE, features)
    return total


def verdict(
    phases: Sequence[Phase], outcomes: Mapping[str, Outcome | None], *, kept: bool, known: set[str], elements: set[str]
) -> str:
    """Why a candidate is not validated, or "".

    Args:
        outcomes: job key -> how it ended.
        kept: whether the candidate kept its structure type on relaxation.
        known: elements with a reference energy.
        elements: of the candidate.
    """
    if missing := sorted(elements - known):
        return f"no reference energy of {', '.join(missing)} at this level"
    failed = [phase.name for phase in phases if (ended := outcomes.get(phase.key)) is None or not ended.ok]
    if failed:
        return f"not known at this level: {', '.join(failed)}"
    return "" if kept else "it did not keep its structure type on relaxation"
