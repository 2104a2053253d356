"""The values a campaign is made of. Frozen, plain, JSON in and out; no behaviour."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from materia.crystal import Crystal


@dataclass(frozen=True)
class Candidate:
    """A structure in the frozen pool.

    Attributes:
        id: unique in the pool and stable: ``FORMULA-PROTOTYPE`` for generated ones, such as ``GaAs-zincblende``.
        crystal: the structure as generated or read, before any relaxation.
        prototype: name of the prototype it was built on, or of its file.
        origin: where it came from, free form (``{"generator": "prototypes"}``).
        features: numbers known without any calculation (``supply_risk``, ``n_electrons``, ...).
    """

    id: str
    crystal: Crystal
    prototype: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, float] = field(default_factory=dict)

    @property
    def formula(self) -> str:
        return self.crystal.formula


@dataclass(frozen=True)
class Label:
    """A value of a quantity, with the physics it claims and where it came from.

    Attributes:
        quantity: name in :mod:`materia.quantities`.
        value: in that quantity's unit.
        fidelity: such as ``PBE``; what the surrogate distinguishes.
        level: name of the level of theory, such as ``standard``.
        level_hash: hash of every setting behind that name.
        source: job key, dataset id or citation.
    """

    quantity: str
    value: float
    fidelity: str
    level: str
    level_hash: str
    source: str


@dataclass(frozen=True)
class Resources:
    """What one job asks for, all its ranks together.

    Attributes:
        cores: in all, the same number for each rank.
        memory_mb: in all.
        walltime_s: seconds.
        ranks: processes that compute it together (MPI), on one node. No part of a job's key.
    """

    cores: int = 1
    memory_mb: int = 2000
    walltime_s: int = 3600
    ranks: int = 1

    @property
    def threads(self) -> int:
        """Cores of each rank."""
        return max(1, self.cores // self.ranks)


@dataclass(frozen=True)
class JobSpec:
    """One recipe on one structure at one level, as ``compute`` sees it.

    Attributes:
        key: content hash of recipe, structure and level; equal keys are the same calculation.
        argv: program and arguments, run with the attempt folder as working directory. The program finds
            ``job.json`` (``payload``) there and publishes ``result.json`` by rename.
        payload: JSON content of ``job.json``.
        features: numbers a cost model may learn from (``n_atoms``, ``n_electrons``, ``n_kpoints``, ...). Forecasts
            among them: ``estimate_s`` CPU seconds, ``estimate_mb`` peak memory.
        resources: a cautious request; what is asked for may be learned from other jobs.
        name: for people (``GaAs-zincblende/relax``).
        family: jobs of one family have like costs, told from their features (``relax gpaw``).
        stage: how many jobs have led to this one; of those that wait, the furthest come first, so that what was begun
            is finished before more is begun.
    """

    key: str
    argv: tuple[str, ...]
    payload: Mapping[str, Any]
    features: Mapping[str, float] = field(default_factory=dict)
    resources: Resources = Resources()
    name: str = ""
    family: str = ""
    stage: int = 0


class OutcomeKind(StrEnum):
    """How a job ended."""

    COMPLETED = "completed"
    FAILED = "failed"  # the science failed: typed reason from the simulation, result.json says so
    CRASHED = "crashed"  # the program ended without a result
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAILURE = "node_failure"
    CANCELLED = "cancelled"
    REFUSED = "refused"  # the scheduler would never start it


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and with what.

    Attributes:
        key: the job's key.
        kind: how it ended.
        retryable: whether trying again could end otherwise; ``False`` for deterministic failures.
        reason: short machine-readable reason for anything but completed (``not_converged``).
        message: one sentence for people.
        values: content of ``result.json``'s ``values`` (empty unless completed).
        provenance: versions, host, times as the job wrote them.
        folder: attempt folder, relative to the campaign folder where it lies inside it.
        wall_s, cpu_s: wall and CPU seconds of the attempt (0 where unknown).
        attempt: 1-based attempt number that produced this outcome.
    """

    key: str
    kind: OutcomeKind
    retryable: bool = False
    reason: str = ""
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    attempt: int = 1

    @property
    def ok(self) -> bool:
        return self.kind is OutcomeKind.COMPLETED


class PickState(StrEnum):
    """Where a pick stands on its way through the ladder."""

    PROPOSED = "proposed"  # waits for a person's approval; nothing is submitted
    PENDING = "pending"
    COMPUTED = "computed"
    STOPPED = "stopped"  # a test of the ladder found the next rung not worth its cost; what was computed stays
    FAILED = "failed"
    VETOED = "vetoed"  # a person took it back before its calculations had ended; says nothing about the material

    @property
    def open(self) -> bool:
        """Whether it still can become something else."""
        return self in (PickState.PROPOSED, PickState.PENDING)


@dataclass(frozen=True)
class Pick:
    """One decision: compute this candidate next.

    Attributes:
        round: 0-based round number.
        slot: 0-based place in the round's batch.
        candidate_id: which.
        candidate_index: its row in the frozen pool.
        trial_number: number of the Optuna trial that decided it.
        predictions: quantity -> {"mean", "std"} at the time of the pick; of some also whether and where above a bound.
        score: parts of the acquisition value, by name; ``total`` is what was compared.
        state: where it stands.
        reason: why it failed, was stopped or vetoed, if it was.
        labels: what was computed.
    """

    round: int
    slot: int
    candidate_id: str
    candidate_index: int
    trial_number: int
    predictions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    score: Mapping[str, float] = field(default_factory=dict)
    state: PickState = PickState.PENDING
    reason: str = ""
    labels: tuple[Label, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether its labels count: it was computed, or stopped after a rung had given some."""
        return self.state is PickState.COMPUTED or (self.state is PickState.STOPPED and bool(self.labels))


@dataclass(frozen=True)
class Climb:
    """A test of the ladder: whether a pick was worth its next rung.

    Attributes:
        rung: index of the rung that the test stands before.
        recipe: what that rung computes.
        chance: of meeting all conditions, by what was known then.
        chances: quantity -> chance of meeting the conditions on it.
        known_by: quantity -> what the chance comes from: ``computed``, ``PBE gap`` or ``predicted``.
        least: the chance that was asked for.
        spared: below it, yet let up at random to learn what such tests miss.
    """

    rung: int
    recipe: str
    chance: float
    chances: Mapping[str, float]
    known_by: Mapping[str, str]
    least: float
    spared: bool = False

    @property
    def climbs(self) -> bool:
        """Whether the pick went on."""
        return self.spared or self.chance >= self.least


@dataclass(frozen=True)
class Round:
    """One turn of the circle.

    Attributes:
        number: 0-based.
        state: ``open`` (picks are being computed) or ``closed``.
        n_labelled: labelled structures the surrogate was trained on.
        metrics: the surrogate's validation figures of this round, by name.
        picks: in slot order.
    """

    number: int
    state: str
    n_labelled: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    picks: tuple[Pick, ...] = ()


def to_json(value: Any) -> Any:
    """A record value as plain JSON data (crystals as records, enums as their value)."""
    if isinstance(value, Crystal):
        return value.to_record()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {k: to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    return value
