"""What happens after an attempt that gave no result: another one, with more time or memory, or the end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from materia.record import Outcome, OutcomeKind, Resources


@dataclass(frozen=True)
class Limits:
    """The most one job may ask for; None where there is no limit."""

    cores: int | None = None
    memory_mb: int | None = None
    walltime_s: int | None = None


class Retries(BaseModel):
    """How often each ending is tried again, and how much more is asked for then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crashes: int = Field(default=1, ge=0, description="further attempts after a program ended without a result")
    timeouts: int = Field(default=2, ge=0, description="further attempts after the walltime was over")
    out_of_memory: int = Field(default=2, ge=0, description="further attempts after the memory was over")
    node_failures: int = Field(default=4, ge=0, description="further attempts after a node failed or took the job away")
    growth: float = Field(default=2.0, gt=1, description="factor on the time or memory asked for")

    def budget(self, kind: OutcomeKind) -> int:
        """Further attempts allowed after attempts that ended like this."""
        return {
            OutcomeKind.CRASHED: self.crashes,
            OutcomeKind.FAILED: self.crashes,  # only those the program itself marks as retryable
            OutcomeKind.TIMEOUT: self.timeouts,
            OutcomeKind.OUT_OF_MEMORY: self.out_of_memory,
            OutcomeKind.NODE_FAILURE: self.node_failures,
        }.get(kind, 0)

    def next_resources(
        self, outcome: Outcome, asked: Resources, limits: Limits, endings: Mapping[OutcomeKind, int]
    ) -> Resources | None:
        """What the next attempt asks for, or None where there is to be none.

        Args:
            outcome: how the last attempt ended.
            asked: what it had asked for.
            limits: the most the backend gives to one job.
            endings: how many attempts of this job ended in which way, the last one included.
        """
        if outcome.ok or not outcome.retryable or endings.get(outcome.kind, 0) > self.budget(outcome.kind):
            return None
        if outcome.kind is OutcomeKind.TIMEOUT:
            more = self._grown(asked.walltime_s, limits.walltime_s)
            return dataclasses.replace(asked, walltime_s=more) if more > asked.walltime_s else None
        if outcome.kind is OutcomeKind.OUT_OF_MEMORY:
            more = self._grown(asked.memory_mb, limits.memory_mb)
            return dataclasses.replace(asked, memory_mb=more) if more > asked.memory_mb else None
        return asked

    def _grown(self, value: int, limit: int | None) -> int:
        grown = math.ceil(value * self.growth)
        return grown if limit is None else min(grown, limit)
