"""What attempts cost, counted from what was allocated to them: node-hours, kWh and CO2e, and what over-asking cost.

An attempt is charged the share of its node that nobody else could use meanwhile, for as long as it ran, whether or
not it came to anything. The wall time is the launcher's: what a scheduler needs to start and clear a job (seconds)
is not in it, nor is the driver's own work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from materia.record import AttemptRecord


class Energy(BaseModel):
    """Factors from node-hours to kWh and CO2e. What is not given is not counted: there are no defaults to believe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_power_w: float | None = Field(default=None, gt=0, description="what one node draws under load, W")
    pue: float | None = Field(
        default=None, ge=1, description="power usage effectiveness: the whole building's energy over the computers'"
    )
    co2e_kg_per_kwh: float | None = Field(default=None, ge=0, description="of the electricity used, kg CO2e per kWh")


@dataclass(frozen=True)
class Node:
    """The node that jobs get a share of; ``None`` where it is not known.

    Attributes:
        name: of the machine or site; times taken under one name can be compared.
        cores, memory_mb, gpus: what a job on the whole node would have.
        whole: a job gets the whole node, whatever it asks for.
        energy: factors to kWh and CO2e.
    """

    name: str = ""
    cores: int | None = None
    memory_mb: int | None = None
    gpus: int | None = None
    whole: bool = False
    energy: Energy = field(default_factory=Energy)

    def share(self, granted: Mapping[str, float]) -> float | None:
        """The part of the node that ``granted`` (``cores``, ``memory_mb``, ``gpus``) keeps others from using.

        The largest of the shares of what is granted: with one of four GPUs goes a quarter of the node. ``None``
        where the profile does not say how many cores, or of what was granted GPUs, the node has. Memory counts
        where the profile says how much there is.
        """
        if self.whole:
            return 1.0
        if not self.cores or (granted.get("gpus", 0) and not self.gpus):
            return None
        sizes = {"cores": self.cores, "memory_mb": self.memory_mb, "gpus": self.gpus}
        return min(1.0, max(granted.get(name, 0) / size for name, size in sizes.items() if size))

    def to_record(self) -> dict[str, Any]:
        return {**dataclasses.asdict(dataclasses.replace(self, energy=Energy())), "energy": self.energy.model_dump()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_record`; a record of nothing is a node of which nothing is known."""
        return cls(**{**record, "energy": Energy(**record.get("energy", {}))})


@dataclass(frozen=True)
class Cost:
    """What attempts took and what they asked for; add them up.

    Attributes:
        attempts: how many ran.
        wall_s: seconds they ran.
        cpu_s: CPU seconds they used.
        core_s: core-seconds allocated.
        node_s: node-seconds allocated; ``None`` as soon as one attempt's share of its node is not known.
        asked_s: seconds of walltime they asked for.
        asked_mb_s, peak_mb_s: MB asked for and MB used at most, times the seconds they were held; over the
            attempts whose peak is known.
    """

    attempts: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    core_s: float = 0.0
    node_s: float | None = 0.0
    asked_s: float = 0.0
    asked_mb_s: float = 0.0
    peak_mb_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        total: dict[str, Any] = {}
        for name in (f.name for f in dataclasses.fields(self)):
            mine, others = getattr(self, name), getattr(other, name)
            total[name] = None if mine is None or others is None else mine + others
        return Cost(**total)

    @property
    def idle_core_s(self) -> float:
        """Core-seconds allocated and not used: never below zero, since programs may run on more than they asked for."""
        return max(0.0, self.core_s - self.cpu_s)

    def kwh(self, energy: Energy) -> float | None:
        """Electricity, kWh: node-hours times the node's power, times the PUE where it is given."""
        if self.node_s is None or energy.node_power_w is None:
            return None
        return self.node_s / 3600 * energy.node_power_w / 1000 * (energy.pue or 1.0)

    def co2e_kg(self, energy: Energy) -> float | None:
        """kg CO2e of that electricity."""
        kwh = self.kwh(energy)
        return None if kwh is None or energy.co2e_kg_per_kwh is None else kwh * energy.co2e_kg_per_kwh


def cost_of(attempts: Iterable[AttemptRecord], node: Node) -> Cost:
    """What attempts cost together: those that ended, however they ended. One that never started costs nothing."""
    total = Cost()
    for attempt in attempts:
        if attempt.kind is None or attempt.wall_s <= 0:
            continue
        granted = attempt.granted or {"cores": attempt.asked.cores, "memory_mb": attempt.asked.memory_mb}
        share = node.share(granted)
        known = attempt.peak_mb is not None
        total += Cost(
            attempts=1,
            wall_s=attempt.wall_s,
            cpu_s=attempt.cpu_s,
            core_s=attempt.wall_s * (node.cores if node.whole and node.cores else granted["cores"]),
            node_s=None if share is None else share * attempt.wall_s,
            asked_s=attempt.asked.walltime_s,
            asked_mb_s=attempt.asked.memory_mb * attempt.wall_s if known else 0.0,
            peak_mb_s=(attempt.peak_mb or 0.0) * attempt.wall_s,
        )
    return total


def not_counted(cost: Cost, energy: Energy) -> list[str]:
    """What is missing in the figures, in words with the entry of the site profile that would supply it."""
    words = []
    if cost.node_s is None:
        words.append("node-hours: how many cores a node has is not set (node.cores)")
    if energy.node_power_w is None:
        words.append("kWh: the node's power is not set (energy.node_power_w)")
    elif energy.pue is None:
        words.append("cooling and losses: the PUE is not set (energy.pue), kWh are those of the nodes alone")
    if energy.co2e_kg_per_kwh is None:
        words.append("CO2e: the electricity's intensity is not set (energy.co2e_kg_per_kwh)")
    return words


def summary(cost: Cost, energy: Energy, hits: int) -> dict[str, Any]:
    """A campaign's cost as plain data: hours, kWh, kg, what was over-asked, the same per hit, and the factors.

    Args:
        cost: of everything that ran.
        energy: factors.
        hits: candidates that were found by it. All of the cost is shared among them, failures included.
    """
    totals = {
        "core_hours": cost.core_s / 3600,
        "node_hours": None if cost.node_s is None else cost.node_s / 3600,
        "kwh": cost.kwh(energy),
        "co2e_kg": cost.co2e_kg(energy),
    }
    return {
        "attempts": cost.attempts,
        "wall_hours": cost.wall_s / 3600,
        "cpu_hours": cost.cpu_s / 3600,
        **totals,
        "over_asked": {
            "idle_core_hours": cost.idle_core_s / 3600,
            "walltime_asked_over_used": cost.asked_s / cost.wall_s if cost.wall_s else None,
            "memory_asked_over_peak": cost.asked_mb_s / cost.peak_mb_s if cost.peak_mb_s else None,
        },
        "hits": hits,
        "per_hit": {k: None if v is None or not hits else v / hits for k, v in totals.items()},
        "factors": energy.model_dump(),
        "not_counted": not_counted(cost, energy),
    }
