"""A whole campaign as read-only values: what reports, tracking and notebooks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from materia.record._overrides import Override
from materia.record._values import Climb, Outcome, OutcomeKind, Pick, Resources, Round


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt of a job: what it asked for, got and used.

    Attributes:
        number: 1-based.
        asked: what it asked for.
        kind: how it ended; ``None`` while it has not.
        wall_s, cpu_s: wall and CPU seconds it took.
        peak_mb: the most memory it used; ``None`` where not known.
        granted: what it was allocated (``cores``, ``memory_mb``, ``gpus``); empty where not recorded.
        place: machine or site it ran on; empty where not recorded.
    """

    number: int
    asked: Resources
    kind: OutcomeKind | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float | None = None
    granted: Mapping[str, float] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True)
class JobRecord:
    """One job of a campaign and how it stands.

    Attributes:
        key: content hash of recipe, structure and level.
        name: for people (``GaAs-zincblende/relax``).
        state: as the job tables name it.
        attempts: how often it was started.
        features: numbers its cost was predicted from.
        outcome: how it ended, once it has.
        family: jobs of one family have like costs.
        runs: its attempts, in order.
    """

    key: str
    name: str
    state: str
    attempts: int
    features: Mapping[str, float] = field(default_factory=dict)
    outcome: Outcome | None = None
    family: str = ""
    runs: tuple[AttemptRecord, ...] = ()


@dataclass(frozen=True)
class CampaignRecord:
    """A campaign folder, read.

    Attributes:
        folder: where it lies.
        name: of the campaign.
        state: ``running`` or ``finished``.
        settings: the campaign file as started, or as changed since (from ``campaign.yaml``).
        meta: versions, digests, ``started`` and ``finished`` as ISO times; ``node``: what jobs got shares of;
            ``remaining``: round's number as text -> what was still to be found before it; ``plan``: what the backtest
            had said when the campaign was started; ``changes``: what of its settings was changed on the way, each with
            ``when``, ``setting``, ``from`` and ``to``.
        rounds: in order, with their picks.
        jobs: in order of submission.
        pool: content of ``pool/pool.json`` (``hash``, ``n``, ``funnel``...).
        ranking: rows of ``ranking.json``, best first.
        models: the card of each round's surrogate, in round order.
        dataset: training data at the start: ``name``, ``digest``, ``n``, ``card``.
        overrides: what people decided, in order, with what became of it.
        dossiers: candidate id -> why it was picked (see ``campaign``'s dossier), for every pick that has one; of a
            vetoed pick whose candidate was picked again under :func:`vetoed_key`.
        climbs: candidate id -> its tests on the ladder, from the lowest rung on, for every pick that was tested; keys
            as those of the dossiers.
    """

    folder: Path
    name: str
    state: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    jobs: tuple[JobRecord, ...] = ()
    pool: Mapping[str, Any] = field(default_factory=dict)
    ranking: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    dossiers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    climbs: Mapping[str, tuple[Climb, ...]] = field(default_factory=dict)

    @property
    def validates(self) -> bool:
        """Whether candidates that meet every condition are held against their competing phases."""
        return bool(self.settings.get("ladder", {}).get("competing"))

    def dossier(self, pick: Pick) -> Mapping[str, Any] | None:
        """Why a pick was made; None where it has no dossier."""
        aside = self.dossiers.get(vetoed_key(pick.candidate_id, pick.round, pick.slot))
        found = aside or self.dossiers.get(pick.candidate_id)
        return None if found is None or found.get("round", pick.round) != pick.round else found

    def last_pick(self, candidate_id: str) -> Pick | None:
        """The pick of a candidate; of several, all but the last of which were vetoed, the last."""
        found = [pick for round_ in self.rounds for pick in round_.picks if pick.candidate_id == candidate_id]
        return found[-1] if found else None


def is_validated(row: Mapping[str, Any]) -> bool:
    """Of a row of the ranking: whether every competing phase named is known at its level, and it kept its structure."""
    validation = row.get("validation")  # campaigns of older versions do not say
    return bool(validation and validation["validated"])


def vetoed_key(candidate_id: str, round_number: int, slot: int) -> str:
    """What a vetoed pick's dossier and tests are found under once its candidate is picked again."""
    return f"{candidate_id} (round {round_number}, pick {slot})"
