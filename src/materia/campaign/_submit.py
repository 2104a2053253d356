"""A campaign's driver as a Slurm job: checked here, driven there, by the same code on the same folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from materia.campaign._folder import open_campaign
from materia.campaign._settings import CampaignSettings, load_settings
from materia.compute import DriverJob, Site, driver_command
from materia.errors import CampaignError, ConfigError


@dataclass(frozen=True)
class Submitted:
    """The first job of a chain.

    Attributes:
        job: its id.
        name: of every job of the chain, for squeue and scancel.
        log: what the jobs say.
        advice: what the backtest had said when the campaign was started; empty where nobody asked.
    """

    job: str
    name: str
    log: Path
    advice: str = ""


def submit(file: str | Path | None, folder: str | Path, *, progress: bool = False, override: str = "") -> Submitted:
    """Submit the driver of a campaign as a Slurm job, which submits its successor until the campaign is finished.

    The folder is made and everything that can be wrong with the campaign file is found here, before a job waits
    in a queue for it. The jobs then only need the folder.

    Args:
        file: campaign file; ``None`` resumes what the folder holds.
        folder: campaign folder, on a file system that the nodes see.
        progress: show progress bars of long work.
        override: as for :func:`materia.campaign.run`.

    Raises:
        ConfigError: the campaign does not run on Slurm, or the file is wrong.
        CampaignLockedError: a driver holds it at this moment.
        CampaignError: it is finished.
        SchedulerError: Slurm refuses the job, gives no answer, or has one of this campaign already.
    """
    if file is not None:
        _check_backend(load_settings(file))  # before the folder is made with settings it then holds to
    with open_campaign(
        None if file is None else Path(file), Path(folder), progress=progress, override=override
    ) as campaign:
        settings, state, advice = campaign.settings, campaign.database.meta().get("state"), campaign.advice
    if state == "finished":
        raise CampaignError("the campaign is finished", where=folder, remedy="look at it with `materia report`")
    _check_backend(settings)
    site = Site.load(settings.compute.site, settings.compute.overrides)
    chain = DriverJob(site, Path(folder), settings.name)
    return Submitted(chain.submit(driver_command(Path(folder))), chain.name, chain.folder / "driver.log", advice)


def _check_backend(settings: CampaignSettings) -> None:
    if settings.compute.backend != "slurm":
        raise ConfigError(
            f"the jobs of this campaign run on the backend {settings.compute.backend!r}, not on Slurm",
            where="compute.backend",
            remedy="set it to slurm, with a site; or run the campaign with `materia run`",
        )
