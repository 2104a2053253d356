"""The ``compute`` section of a campaign file, and the way from it to a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from materia.compute._accounting import Energy
from materia.compute._backend import Backend
from materia.compute._estimates import EstimateSettings
from materia.compute._mpi import Mpi
from materia.compute._retries import Retries
from materia.errors import ConfigError
from materia.plugins import installed

GROUP: Final = "materia.backends"


class ComputeSettings(BaseModel):
    """Where jobs run, and how often they are tried."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: str = Field(default="local", description="an entry point of the group materia.backends")
    cores: int | None = Field(default=None, ge=1, description="local: cores to use; all by default")
    memory_mb: int | None = Field(default=None, ge=100, description="local: memory to use; all by default")
    site: str = Field(default="generic", description="slurm: a shipped site profile or the path of one")
    overrides: dict[str, Any] = Field(default={}, description="slurm: entries of the site profile to replace")
    ranks: int = Field(default=1, ge=1, description="MPI processes of a DFT job, at most; one core each, on one node")
    mpi: Mpi | None = Field(default=None, description="local: what starts several ranks; a site's is in its profile")
    energy: Energy = Field(default=Energy(), description="local: of this machine; a site's are in its profile")
    retries: Retries = Retries()
    estimates: EstimateSettings = EstimateSettings()
    stores: tuple[str, ...] = Field(default=(), description="campaigns and datasets whose results are taken over")


BackendFactory = Callable[[ComputeSettings], Backend]


def open_backend(settings: ComputeSettings) -> Backend:
    """The backend the settings name.

    Raises:
        ConfigError: no backend of that name is installed, or its settings do not fit.
    """
    found = installed(GROUP)
    if settings.backend not in found:
        raise ConfigError(
            f"there is no backend {settings.backend!r} (installed: {', '.join(found) or 'none'})",
            where="compute.backend",
            remedy="choose one of those, or install the package that brings it",
        )
    factory: BackendFactory = found[settings.backend].load()
    return factory(settings)


def local(settings: ComputeSettings) -> Backend:
    """Entry point ``local``."""
    from materia.compute._local import LocalBackend

    if settings.ranks > 1 and settings.mpi is None:
        raise ConfigError(
            f"compute.ranks is {settings.ranks}, and nothing says what starts several ranks on this machine",
            where="compute.mpi",
            remedy="add mpi: {launch: [mpiexec, -n, '{ranks}']}, or leave ranks at 1",
        )
    return LocalBackend(settings.cores, settings.memory_mb, settings.energy, settings.mpi)


def slurm(settings: ComputeSettings) -> Backend:
    """Entry point ``slurm``."""
    from materia.compute._site import Site
    from materia.compute._slurm import SlurmBackend

    return SlurmBackend(Site.load(settings.site, settings.overrides))
