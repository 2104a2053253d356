"""Talking to Slurm: sbatch, squeue, sacct and scancel, and what to make of silence."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final

from materia.compute import _slurm_text
from materia.compute._site import Site
from materia.errors import SchedulerError

_SACCT: Final = ("-n", "-X", "-P", "-D", "-o", _slurm_text.SACCT_FORMAT)
_BATCH: Final = 200  # ids on one command line
_OF_SLURM: Final = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SRUN_")
_DEVICES: Final = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
_NAMES: Final = 1000  # names on one command line; beyond that all jobs are asked for


class UnansweredError(Exception):
    """A question to Slurm has no answer: never a reason to act."""


class SlurmClient:
    """The scheduler's commands. A question without an answer raises :class:`UnansweredError` and sets ``trouble``.

    Raises:
        SchedulerError: there is no sbatch on this machine.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.trouble = ""
        self.questions = 0  # asked so far, for tests and benchmarks
        self._need("sbatch")

    def sbatch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Submit; the answer as it came.

        Raises:
            subprocess.TimeoutExpired: none came; the job may have been accepted all the same.
        """
        return self._run("sbatch", *arguments)

    def queue(self, tokens: Sequence[str]) -> Iterable[_slurm_text.Record]:
        """Array members of these names that the controller remembers."""
        options = ("-h", "-a", "-r", "-u", str(os.getuid()), "-t", "all", "-o", _slurm_text.SQUEUE_FORMAT)
        return _slurm_text.parse_squeue(self._ask("squeue", *options, *_named(tokens)))

    def accounting(self, tokens: Sequence[str], since: float) -> Iterable[_slurm_text.Record]:
        """Array members of these names in accounting, from a day before ``since`` (seconds since 1970) on."""
        if not tokens or not self.site.accounting:
            return []
        day_before = datetime.datetime.fromtimestamp(since - 86400).strftime("%Y-%m-%dT%H:%M:%S")
        return _slurm_text.parse_sacct(self._ask("sacct", *_SACCT, "-S", day_before, *_named(tokens)))

    def accounting_of(self, jobs: Sequence[str]) -> Iterable[_slurm_text.Record]:
        """All that accounting has of these job ids, whenever: other jobs of the same number too, so the name counts.

        Members cancelled before they could start have no time there: no span of time holds them, only their id does.
        """
        return _slurm_text.parse_sacct(self._ask("sacct", *_SACCT, "-j", ",".join(jobs)))

    def scancel(self, token: str, jobs: Sequence[str]) -> None:
        """End these jobs or array members of that name; one whose id has become another's is left alone."""
        for start in range(0, len(jobs), _BATCH):
            self._ask("scancel", f"--name={token}", *jobs[start : start + _BATCH], fine="Invalid job id specified")

    def _ask(self, program: str, *arguments: str, fine: str = "") -> str:
        self.questions += 1
        try:
            answer = self._run(program, *arguments)
        except subprocess.TimeoutExpired as error:
            self.trouble = f"{program} gave no answer in {self.site.command_timeout_s} s"
            raise UnansweredError from error
        if answer.returncode != 0 and not (fine and fine in answer.stderr):
            self.trouble = f"{program}: {answer.stderr.strip() or f'ended with {answer.returncode}'}"
            raise UnansweredError
        self.trouble = ""
        return answer.stdout

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        self._need(program)
        return run_client(self.site, program, *arguments)

    def _need(self, program: str) -> None:
        if shutil.which(program) is None:
            raise SchedulerError(
                f"there is no {program} on this machine",
                where=f"site {self.site.name}",
                remedy="run on a login node of the site, or choose compute.backend: local",
            )


def _named(tokens: Sequence[str]) -> list[str]:
    return [f"--name={','.join(tokens)}"] if len(tokens) <= _NAMES else []


def run_client(site: Site, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One program of Slurm, to its end; TimeoutExpired after the site's ``command_timeout_s``."""
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=site.command_timeout_s,
        env=_clean_environment(),
        check=False,
    )


def _clean_environment() -> dict[str, str]:
    """Without what a surrounding Slurm job, the driver's, would pass on to the jobs: its sizes, its GPUs."""
    inside = "SLURM_JOB_ID" in os.environ
    return {"SLURM_BITSTR_LEN": "0"} | {  # or sacct cuts off long lists of array members
        name: value
        for name, value in os.environ.items()
        if (name == "SLURM_CONF" or not name.startswith(_OF_SLURM)) and not (inside and name in _DEVICES)
    }
