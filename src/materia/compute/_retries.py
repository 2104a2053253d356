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
        self,
        outcome: Outcome,
        asked: Resources,
        limits: Limits,
        endings: Mapping[OutcomeKind, int],
        cautious: Resources | None = None,
    ) -> Resources | None:
        """What the next attempt asks for, or None where there is to be none.

        Args:
            outcome: how the last attempt ended.
            asked: what it had asked for.
            limits: the most the backend gives to one job.
            endings: how many attempts of this job ended in which way, the last one included; those that
                :func:`ran_short` are not held against the job.
            cautious: the job's own request: the next attempt gets at least that of what ran out. What was learned
                from other jobs must not decide whether this one fails.
        """
        if outcome.ok or not outcome.retryable or endings.get(outcome.kind, 0) > self.budget(outcome.kind):
            return None
        cautious = cautious or asked
        if outcome.kind is OutcomeKind.TIMEOUT:
            more = self._grown(asked.walltime_s, cautious.walltime_s, limits.walltime_s)
            return dataclasses.replace(asked, walltime_s=more) if more > asked.walltime_s else None
        if outcome.kind is OutcomeKind.OUT_OF_MEMORY:
            more = self._grown(asked.memory_mb, cautious.memory_mb, limits.memory_mb)
            return dataclasses.replace(asked, memory_mb=more) if more > asked.memory_mb else None
        return asked

    def _grown(self, value: int, cautious: int, limit: int | None) -> int:
        """The cautious request where less was asked for, else more than before."""
        grown = cautious if value < cautious else math.ceil(value * self.growth)
        return grown if limit is None else min(grown, limit)


def ran_short(kind: OutcomeKind, asked: Resources, cautious: Resources) -> bool:
    """Whether an attempt ran out of something it had asked for less of than the job's own cautious request."""
    if kind is OutcomeKind.TIMEOUT:
        return asked.walltime_s < cautious.walltime_s
    return kind is OutcomeKind.OUT_OF_MEMORY and asked.memory_mb < cautious.memory_mb
