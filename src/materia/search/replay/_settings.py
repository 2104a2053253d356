"""The replay file: a dataset, a goal, and the strategies that are let loose on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from materia.search._settings import Constraint, Objective, SearchSettings
from materia.settings_files import explained, read_mapping, rooted

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Strict):
    """Structures whose answers are known.

    Attributes:
        dataset: a dataset folder of this project, or ``shipped``; structures are those before relaxation.
        elements: of a dataset: only structures of these elements and no others; empty for all.
        prototypes: of a dataset: only structures of these prototypes; empty for all. Distances to the hull are judged
            against all phases of the dataset in any case.
        records: a file of one JSON record a line (``.jsonl`` or ``.jsonl.gz``):
            ``{"id", "structure": {"lattice" (3x3, Å, rows), "species", "frac_coords"}, "targets": {...}}``, with
            ``space_group`` where it is known. Give this or ``dataset``.
        targets: for records: field of ``targets`` -> registered quantity.
        volume: for records, whose cells are relaxed: ``touching`` rescales every cell to the volume at which its
            closest atoms touch, which needs no calculation; ``given`` keeps the relaxed volume, which a search would
            not know: an upper bound to show beside it.
    """

    dataset: str | None = None
    elements: tuple[str, ...] = ()
    prototypes: tuple[str, ...] = ()
    records: str | None = None
    targets: Mapping[str, str] = Field(default_factory=dict)
    volume: Literal["touching", "given"] = "touching"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (self.records is None):
            raise ValueError("give exactly one of dataset and records")
        if self.records is not None and not self.targets:
            raise ValueError("records need targets: which of their fields is which quantity")
        if self.records is not None and (self.elements or self.prototypes):
            raise ValueError("elements and prototypes choose from a dataset; records are taken whole")
        return self


class FailureSettings(_Strict):
    """Calculations that fail, by region: around some candidates drawn at random nearly all do, elsewhere few.

    Attributes:
        share: of all candidates, expected to fail.
        regions: candidates that a region of failures lies around, others for every seed.
        inside: probability of a failure in a region.
        outside: probability of a failure elsewhere.
    """

    share: float = Field(0.3, gt=0, lt=1)
    regions: int = Field(5, ge=1)
    inside: float = Field(0.9, gt=0, le=1)
    outside: float = Field(0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _between(self) -> Self:
        if not self.outside < self.share < self.inside:
            between = f"outside ({self.outside}) and inside ({self.inside})"
            raise ValueError(f"share ({self.share}) must lie between {between}")
        return self


class StrategySettings(_Strict):
    """One way of choosing.

    Attributes:
        name: in results and figures.
        learner: entry point name in ``materia.learners``: what predicts the pool, retrained every round.
        options: the learner's own settings.
        search: how to choose from the predictions; ``batch`` and ``rounds`` are the replay's.
        seeds: runs of this strategy, where it is too dear for as many as the others get.
    """

    name: str = Field(pattern=_NAME)
    learner: str = "forest"
    options: Mapping[str, JsonValue] = Field(default_factory=dict)
    search: SearchSettings = Field(default_factory=SearchSettings)
    seeds: int | None = Field(None, ge=2)


class ReplaySettings(_Strict):
    """A whole replay file.

    Attributes:
        failures: which calculations fail; by default none. A failed one counts as a calculation and answers nothing.
        start: random labels to start from, the same for every strategy of a seed; they count as calculations.
        batch: calculations a round.
        seeds: runs of each strategy, seeds 0 to seeds - 1.
        share: of all hits; accelerations are those to this point.
        until: share of all hits at which a run ends, at least ``share`` and by default the same. A run of a strategy
            with stop rules goes on until they would have stopped it and 95 % of all hits are found.
        most: calculations after which a run ends in any case; by default the whole pool.
    """

    version: Literal[1]
    name: str = Field(pattern=_NAME)
    data: DataSettings
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    failures: FailureSettings | None = None
    start: int = Field(100, ge=2)
    batch: int = Field(20, ge=1)
    seeds: int = Field(20, ge=2)
    share: float = Field(0.5, gt=0, le=1)
    until: float | None = Field(None, gt=0, le=1)
    most: int | None = Field(None, ge=1)
    strategies: tuple[StrategySettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_apart(self) -> Self:
        names = [s.name for s in self.strategies]
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"two strategies are named {', '.join(doubled)}")
        if self.until is not None and self.until < self.share:
            raise ValueError(f"until ({self.until}) lies below share ({self.share})")
        for strategy in self.strategies:
            rules = strategy.search.stop
            if rules is not None:
                rules.check(self.objectives, self.constraints)
                if rules.cpu_hours_per_hit is not None:
                    raise ValueError("stop.cpu_hours_per_hit: a replay predicts no costs; write calculations_per_hit")
        return self

    @property
    def runs(self) -> list[tuple[StrategySettings, int]]:
        """Every strategy with each of its seeds."""
        return [(s, seed) for s in self.strategies for seed in range(s.seeds or self.seeds)]

    @property
    def end(self) -> float:
        """Share of all hits at which a run ends."""
        return self.share if self.until is None else self.until


def load_replay(path: str | Path) -> ReplaySettings:
    """Read and check a replay file; relative paths in it are relative to it.

    Raises:
        ConfigError: not YAML, an unknown key or a wrong value: names file and key.
    """
    path = Path(path)
    content = read_mapping(path, "replay", "see docs/replay.md")
    data = content.get("data")
    if isinstance(data, dict):
        for key in ("dataset", "records"):
            given = data.get(key)
            if isinstance(given, str) and given != "shipped":
                data[key] = rooted(given, path)
    try:
        return ReplaySettings.model_validate(content)
    except ValidationError as error:
        raise explained(error, ReplaySettings, path, "docs/replay.md") from error
