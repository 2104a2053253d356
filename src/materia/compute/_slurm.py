"""The Slurm backend: arrays through sbatch, squeue, sacct and scancel, nothing else."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from materia import files
from materia.compute import _slurm_text
from materia.compute._accounting import Node
from materia.compute._backend import Status, Submission, Task, Ticket, Verdict
from materia.compute._mpi import misfit
from materia.compute._retries import Limits
from materia.compute._site import Site
from materia.compute._slurm_client import SlurmClient, UnansweredError
from materia.compute._slurm_script import (
    allocation,
    read_granted,
    read_shape,
    sbatch_options,
    short,
    site_python,
    task_files,
    task_folder,
)
from materia.compute._slurm_watch import SlurmWatch
from materia.record import Resources


class SlurmBackend:
    """Submits arrays whose name is the task's token, so that a submission cut off can be found again.

    Results and most endings come from the attempt folders; Slurm is asked about the rest, all of it in one
    squeue and, for what the queue has forgotten, one sacct per ``poll_interval_s``. A question without an
    answer means *unknown* and changes nothing; :attr:`trouble` says so.

    Raises:
        SchedulerError: there is no sbatch on this machine.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.name = "slurm"
        self.poll_interval_s = site.poll_interval_s
        self.patience_s = site.patience_s
        self.client = SlurmClient(site)
        self._watch = SlurmWatch(self.client)
        self._tried_at: dict[str, float] = {}
        self._granted: dict[str, Mapping[str, float]] = {}
        self._others_waiting = False
        self._searched_at = self._busy_at = -math.inf

    @property
    def trouble(self) -> str:
        """Why Slurm could not be asked lately, or would not take a job for now."""
        return self.client.trouble

    # ------------------------------------------------------------------ what fits

    def limits(self) -> Limits:
        site, most = self.site, self.site.limits()
        memory = most.memory_mb
        if site.memory_per_core_mb and most.cores:
            memory = min(memory or sys.maxsize, site.memory_per_core_mb * most.cores)
        return Limits(
            cores=most.cores,
            memory_mb=None if memory is None else memory - site.memory_margin_mb,
            walltime_s=None if most.walltime_s is None else most.walltime_s // 60 * 60 - site.walltime_margin_s,
        )

    def node(self) -> Node:
        site = self.site
        most = site.node
        whole = site.whole_nodes or "--exclusive" in site.options
        return Node(f"slurm {site.name}", most.cores, most.memory_mb, most.gpus, whole, site.energy)

    def granted(self, ticket: Ticket) -> Mapping[str, float]:
        """What sbatch was asked for, for this job's array member; of a pilot, the part of one of its slots."""
        if ticket.token not in self._granted:
            self._granted[ticket.token] = read_granted(task_folder(ticket))
        return self._granted[ticket.token] or allocation(self.site, [ticket.resources])

    def refusal(self, resources: Resources) -> str:
        most = self.limits()
        where = f"site {self.site.name}" + (f", QoS {self.site.qos}" if self.site.qos else "")
        for asked, limit, unit in (
            (resources.cores, most.cores, "cores"),
            (resources.memory_mb, most.memory_mb, "MB"),
            (resources.walltime_s, most.walltime_s, "s of walltime"),
        ):
            if limit is not None and asked > limit:
                return f"it asks for {asked} {unit}, {where} gives {limit} to one job: it would never start"
        return misfit(resources)

    def plan(self, waiting: Sequence[Resources], active: Sequence[Resources]) -> list[list[int]]:
        """Jobs that ask for about the same go into one array, short ones into the pilots of one; the order is kept."""
        self._others_waiting = bool(active)
        if time.monotonic() - self._busy_at < self.poll_interval_s:
            return []
        allowed = self.site.limits().submitted
        room = len(waiting) if allowed is None else max(0, allowed - len(active))
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, asked in list(enumerate(waiting))[:room]:
            groups.setdefault(self._alike(asked), []).append(index)
        tasks = []
        for key, members in groups.items():
            size = self.site.pilots.members if key[0] and self.site.pilots else self.site.array_size
            tasks += [members[start : start + size] for start in range(0, len(members), size)]
        return tasks

    def _alike(self, asked: Resources) -> tuple[Any, ...]:
        """What jobs of one array have in common: the array asks for the most that one of them needs."""
        if short(self.site, asked):
            return (True, asked.ranks, asked.cores, _rough(asked.memory_mb))
        return (False, asked.ranks, asked.cores, _rough(asked.memory_mb), _rough(asked.walltime_s))

    def command(self, argv: Sequence[str], resources: Resources | None = None) -> list[str]:
        """``python``, or the driver's own interpreter, becomes the site's; several ranks start as the profile says."""
        program = [site_python(self.site) if argv[0] in ("python", sys.executable) else argv[0], *argv[1:]]
        return self.site.mpi.command(program, resources)

    # ------------------------------------------------------------------ submit

    def submit(self, task: Task) -> Submission:
        files.write_folder(task.folder, task_files(self.site, task))
        self._tried_at[task.token] = time.time()
        try:
            answer = self.client.sbatch(*sbatch_options(self.site, task), str(task.folder / "job.sh"))
        except subprocess.TimeoutExpired:
            said = Submission(Verdict.UNKNOWN, words=f"sbatch gave no answer in {self.site.command_timeout_s} s")
        else:
            said = _slurm_text.read_submission(
                answer.returncode, answer.stdout, answer.stderr, others_waiting=self._others_waiting
            )
        if said.verdict is Verdict.BUSY:
            self._busy_at = time.monotonic()
        self._others_waiting |= said.verdict is Verdict.ACCEPTED
        self.client.trouble = said.words if said.verdict in (Verdict.UNKNOWN, Verdict.BUSY) else ""
        return said

    def find(self, tasks: Sequence[Task]) -> Mapping[str, Submission]:
        """Queue, then accounting. Absent only if both answered and no submission can still be on its way."""
        if time.monotonic() - self._searched_at < self.poll_interval_s:
            return {}
        self._searched_at = time.monotonic()
        tokens = [task.token for task in tasks]
        try:
            records = list(self.client.queue(tokens))
            unseen = set(tokens) - {record.token for record in records}
            records += self.client.accounting(sorted(unseen), min(task.since for task in tasks))
        except UnansweredError:
            return {}
        found: dict[str, Submission] = {}
        for task in tasks:
            jobs = [int(record.job) for record in records if record.token == task.token]
            if jobs:
                found[task.token] = Submission(Verdict.ACCEPTED, handle=str(min(jobs)))
            elif time.time() - self._tried_at.get(task.token, task.since) >= self.site.settle_s:
                found[task.token] = Submission(Verdict.ABSENT)
        return found

    # ------------------------------------------------------------------ watch

    def poll(self, tickets: Sequence[Ticket]) -> Mapping[tuple[str, int], Status]:
        return self._watch.poll(tickets)

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """Ask Slurm to end them. If it cannot be asked, the fence in the attempt folder still holds.

        A pilot has other jobs and goes on: one of its jobs ends by the word in its folder.
        """
        jobs: dict[str, list[str]] = {}
        for ticket in tickets:
            if ticket.handle and read_shape(task_folder(ticket)) is None:
                jobs.setdefault(ticket.token, []).append(f"{ticket.handle}_{ticket.slot}")
        with contextlib.suppress(UnansweredError):
            for token, members in jobs.items():
                self.client.scancel(token, members)


def _rough(value: int) -> int:
    """Numbers within a factor of 1.5 of each other mostly share this one."""
    return math.ceil(math.log(max(1, value), 1.5))
