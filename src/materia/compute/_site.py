"""Site profiles: what a user of a supercomputer would otherwise write at the top of every job script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from materia.compute._accounting import Energy
from materia.compute._mpi import Mpi
from materia.errors import ConfigError
from materia.resources import resource


class QosLimits(BaseModel):
    """What a quality of service (or the partition) allows one job; None: no limit known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    walltime_s: int | None = Field(default=None, ge=60)
    cores: int | None = Field(default=None, ge=1, description="of one job; never more than a node has")
    memory_mb: int | None = Field(default=None, ge=100)
    gpus: int | None = Field(default=None, ge=1)
    submitted: int | None = Field(default=None, ge=1, description="jobs in the queue at once")


class Pilots(BaseModel):
    """Short jobs share allocations: each pilot is one array member that runs many jobs, one after the other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    below_s: int = Field(default=600, ge=1, description="jobs that ask for no more walltime than this go into pilots")
    count: int = Field(default=4, ge=1, description="pilots of one task")
    slots: int = Field(default=1, ge=1, description="jobs a pilot runs at a time")
    walltime_s: int = Field(default=3600, ge=60, description="of a pilot, at most")
    members: int = Field(default=1000, ge=1, description="jobs handed to the pilots of one task")


class DriverRequest(BaseModel):
    """What the job asks for that a campaign's driver is (``materia submit``); what is left out is the site's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cores: int = Field(default=2, ge=1, description="the surrogate trains on them")
    memory_mb: int = Field(default=8000, ge=500)
    walltime_s: int = Field(default=14400, ge=60, description="of each job of the chain; at most what the QoS allows")
    margin_s: int = Field(default=900, ge=0, description="kept free at its end: the longest step, a training")
    retry_s: int = Field(default=300, ge=0, description="before the next job after one that failed; fourfold after two")
    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    constraint: str | None = None
    options: tuple[str, ...] | None = None


class Site(BaseModel):
    """A Slurm site. Read from ``slurm/sites/NAME.yaml`` or a file of the user's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    verified: bool = Field(default=False, description="whether someone ran materia there and says so")
    notes: str = ""
    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    constraint: str | None = None
    options: tuple[str, ...] = Field(default=(), description="further options of sbatch")
    python: str | None = Field(default=None, description="interpreter on the nodes; the driver's by default")
    environment: tuple[str, ...] = Field(default=(), description="shell lines before the job: modules, exports")
    node: QosLimits = Field(default=QosLimits(), description="what a job on one node can have")
    qos_limits: dict[str, QosLimits] = Field(default={}, description="by name of the QoS")
    request_memory: bool = Field(default=True, description="whether --mem may be given")
    memory_per_core_mb: int | None = Field(
        default=None, ge=1, description="where memory comes with cores: cores are raised to cover it"
    )
    whole_nodes: bool = Field(default=False, description="whether a job gets its node for itself, whatever it asks for")
    energy: Energy = Field(default=Energy(), description="from node-hours to kWh and CO2e, each with its source")
    min_cores: int = Field(default=1, ge=1, description="asked for at least, as where cores come with a GPU")
    array_size: int = Field(default=1000, ge=1, description="members of one array; MaxArraySize - 1")
    array_throttle: int | None = Field(default=None, ge=1, description="members of an array that run at once")
    pilots: Pilots | None = Field(default=None, description="for short jobs; without it every job is an array member")
    mpi: Mpi = Field(default=Mpi(), description="what starts a job of several ranks; by default srun")
    accounting: bool = Field(default=True, description="whether sacct answers")
    driver: DriverRequest = Field(default=DriverRequest(), description="the driver as a job of its own")
    walltime_margin_s: int = Field(default=120, ge=0, description="asked for on top, to end a job in order")
    memory_margin_mb: int = Field(default=100, ge=0, description="asked for on top, for the launcher")
    heartbeat_s: float = Field(default=30.0, gt=0, description="between signs of life of a running job")
    poll_interval_s: float = Field(default=30.0, gt=0, description="between questions to the scheduler")
    settle_s: float = Field(default=120.0, ge=0, description="how long a submission may still be on its way")
    patience_s: float = Field(default=90.0, ge=0, description="how long a result may be on its way to this host")
    command_timeout_s: float = Field(default=60.0, gt=0, description="of sbatch, squeue, sacct, scancel")

    @classmethod
    def load(cls, name: str, overrides: Mapping[str, Any] | None = None) -> Self:
        """A shipped profile by name, or a file by path; ``overrides`` replace its entries.

        Raises:
            ConfigError: no such profile, no YAML, an unknown entry or a value that does not fit.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            path = _shipped(name)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError("there is no such site profile", where=path, remedy="correct the path") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"the site profile is no YAML: {error}", where=path) from error
        if not isinstance(content, dict):
            raise ConfigError("the site profile is not a mapping of names to values", where=path)
        try:
            return cls.model_validate({**content, **(overrides or {})})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ConfigError(
                f"site profile entry {key!r}: {first['msg']} (given: {first['input']!r})",
                where=path,
                remedy=f"entries are: {', '.join(cls.model_fields)}",
            ) from error

    def limits(self) -> QosLimits:
        """The tighter of what a node and the chosen QoS allow, for each thing."""
        qos = self.qos_limits.get(self.qos or "", QosLimits())
        tighter: dict[str, int | None] = {}
        for name in QosLimits.model_fields:
            values = [v for v in (getattr(self.node, name), getattr(qos, name)) if v is not None]
            tighter[name] = min(values) if values else None
        return QosLimits(**tighter)


def _shipped(name: str) -> Path:
    folder = resource("slurm/sites")
    path = folder / f"{name}.yaml"
    if path.parent != folder or not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise ConfigError(
            f"there is no site profile {name!r} (shipped: {known})",
            where="compute.site",
            remedy="choose one of those, or give the path of your own .yaml",
        )
    return path
