"""A whole campaign as read-only values: what reports, tracking and notebooks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from materia.record._overrides import Override
from materia.record._values import Outcome, Round


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
    """

    key: str
    name: str
    state: str
    attempts: int
    features: Mapping[str, float] = field(default_factory=dict)
    outcome: Outcome | None = None


@dataclass(frozen=True)
class CampaignRecord:
    """A campaign folder, read.

    Attributes:
        folder: where it lies.
        name: of the campaign.
        state: ``running`` or ``finished``.
        settings: the campaign file as started (from ``campaign.yaml``).
        meta: versions, digests, ``started`` and ``finished`` as ISO times.
        rounds: in order, with their picks.
        jobs: in order of submission.
        pool: content of ``pool/pool.json`` (``hash``, ``n``, ``funnel``...).
        ranking: rows of ``ranking.json``, best first.
        models: the card of each round's surrogate, in round order.
        dataset: training data at the start: ``name``, ``digest``, ``n``, ``card``.
        overrides: what people decided, in order, with what became of it.
        dossiers: candidate id -> why it was picked (see ``campaign``'s dossier), for every pick that has one.
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
