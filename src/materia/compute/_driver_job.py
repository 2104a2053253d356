"""A driver as a Slurm job that submits its own successor, so that a campaign outlives every walltime."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from materia import files
from materia.compute._backend import Task, Ticket, Verdict
from materia.compute._site import Site
from materia.compute._slurm import SlurmBackend
from materia.compute._slurm_client import run_client
from materia.compute._slurm_script import sbatch_options
from materia.compute._slurm_text import read_submission
from materia.errors import SchedulerError
from materia.record import Resources
from materia.resources import resource

MOST_FAILURES: Final = 3  # in a row, after which a person has to look


class DriverJob:
    """The chain of driver jobs of one campaign folder.

    Args:
        site: the profile; its section ``driver`` says what such a job asks for.
        folder: campaign folder; script, log and state lie in ``folder/driver``.
        label: goes into the job's name, beside a hash of the folder.

    Raises:
        SchedulerError: there is no sbatch on this machine.
    """

    def __init__(self, site: Site, folder: Path, label: str) -> None:
        wanted = site.driver
        changes = {name: getattr(wanted, name) for name in ("partition", "qos", "account", "constraint", "options")}
        self.site = site.model_copy(update={name: value for name, value in changes.items() if value is not None})
        self.folder = folder.absolute() / "driver"
        self.name = f"materia-{label}-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"
        self._backend = SlurmBackend(self.site)
        most = self._backend.limits().walltime_s or wanted.walltime_s
        self.walltime_s = min(wanted.walltime_s, most)

    def options(self) -> list[str]:
        """What sbatch is asked for."""
        asked = Resources(self.site.driver.cores, self.site.driver.memory_mb, self.walltime_s)
        task = Task(self.name, self.folder, (Ticket("driver", 1, self.folder, asked, self.name),))
        of_arrays = ("--array=", "--no-requeue")
        given = [option for option in sbatch_options(self.site, task) if not option.startswith(of_arrays)]
        return [*given, "--requeue", "--dependency=singleton"]

    def script(self, argv: Sequence[str]) -> str:
        """The job script: runs ``argv --seconds N`` and leaves the margin before the walltime free."""
        run_s = max(self.walltime_s // 2, self.walltime_s - self.site.driver.margin_s)
        settings = {
            "name": shlex.quote(self.name),
            "folder": shlex.quote(str(self.folder)),
            "request": f"({shlex.join(['sbatch', *self.options(), str(self.folder / 'job.sh')])})",
            "driver": f"({shlex.join(self._backend.command(argv))})",
            "run_s": run_s,
            "wait_s": min(30, run_s // 4),
            "retry_s": self.site.driver.retry_s,
            "most_failures": MOST_FAILURES,
        }
        lines = ["#!/bin/bash", "# shellcheck disable=SC2034  # used below"]
        lines += [f"{name}={value}" for name, value in settings.items()]
        lines += ["environment() {", ":", *self.site.environment, "}"]
        return "\n".join(lines) + "\n" + resource("slurm/driver-job.sh").read_text()

    def submit(self, argv: Sequence[str]) -> str:
        """Write the script and submit the first job; its id.

        Args:
            argv: the driver; ``--seconds N`` is added. It must leave with code 0 when all is done and with 75
                when it stopped at N seconds or another driver holds the campaign.

        Raises:
            SchedulerError: a job of this chain is in the queue already, Slurm refuses it or gives no answer.
            StorageError: the folder cannot be written.
        """
        there = self._run("squeue", "-h", "-u", str(os.getuid()), "-n", self.name, "-o", "%A").split()
        if there:
            raise SchedulerError(
                f"driver job {', '.join(sorted(set(there)))} of this campaign is in the queue already",
                where=self.folder.parent,
                remedy=f"let it run, or end it first: scancel --name={self.name}",
            )
        with files.storage(self.folder, "cannot write the driver job"):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in ("finished", "stopped", "no-successor", "failures"):
                (self.folder / name).unlink(missing_ok=True)
            files.write_whole(self.folder / "job.sh", self.script(argv))
        words = self._run("sbatch", *self.options(), str(self.folder / "job.sh"))
        said = read_submission(0, words, "", others_waiting=False)
        if said.verdict is not Verdict.ACCEPTED:
            raise SchedulerError(said.words, remedy=f"look whether it is there: squeue --name={self.name}")
        return said.handle

    def _run(self, program: str, *arguments: str) -> str:
        try:
            answer = run_client(self.site, program, *arguments)
        except (subprocess.TimeoutExpired, FileNotFoundError) as error:
            raise SchedulerError(f"{program} gave no answer: {error}", remedy="try again later") from error
        if answer.returncode != 0:
            words = answer.stderr.strip() or f"it ended with {answer.returncode}"
            remedy = f"`materia doctor --site {self.site.name}` says what does not fit"
            raise SchedulerError(f"{program}: {words}", where=f"site {self.site.name}", remedy=remedy)
        return answer.stdout


def driver_trouble(folder: Path) -> str:
    """Why no further driver job of this campaign will come; empty where there is no such word."""
    return next((said for name in ("stopped", "no-successor") if (said := files.tail(folder / "driver" / name))), "")


def driver_command(folder: Path) -> list[str]:
    """The driver of a campaign folder, under the interpreter of this process."""
    return [sys.executable, "-P", "-m", "materia.cli", "run", str(folder.absolute())]
