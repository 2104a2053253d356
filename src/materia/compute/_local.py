"""The backend for this machine: one process per job, which outlives the driver and is found again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import psutil

from materia import files
from materia.compute import _attempt, launcher
from materia.compute._accounting import Energy, Node
from materia.compute._backend import Phase, Status, Submission, Task, Ticket, Verdict
from materia.compute._mpi import Mpi, misfit
from materia.compute._retries import Limits
from materia.errors import ConfigError
from materia.record import OutcomeKind, Resources

LAUNCHER = launcher.__file__
OTHER_HOST_GRACE_S = 300.0


class LocalBackend:
    """Runs jobs on this machine, as many at once as cores and memory allow.

    Every job is a launcher in a session of its own: it lives on when the driver is killed. A later driver
    knows it by the claim in its attempt folder (process number and start time), waits for it and takes its
    result; where the process is gone without a word, the attempt crashed.

    Args:
        cores: cores to use; all that this process may run on by default.
        memory_mb: memory to use; all of the machine's by default.
        energy: the machine's power, and factors from kWh on.
        mpi: what starts jobs of several ranks; without it they are refused.

    Raises:
        ConfigError: less than one core.
    """

    def __init__(
        self,
        cores: int | None = None,
        memory_mb: int | None = None,
        energy: Energy | None = None,
        mpi: Mpi | None = None,
    ) -> None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.name = "local"
        self.poll_interval_s = 0.1
        self.patience_s = 0.0
        self.trouble = ""
        self.cores = available if cores is None else cores
        machine_mb = psutil.virtual_memory().total // 1_000_000
        self.memory_mb = machine_mb if memory_mb is None else memory_mb
        self._node = Node(f"local {launcher.host()}", os.cpu_count(), machine_mb, energy=energy or Energy())
        if self.cores < 1:
            raise ConfigError(f"cores is {self.cores}", remedy="give the local backend at least one core")
        self.mpi = mpi
        self._started: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def limits(self) -> Limits:
        return Limits(cores=self.cores, memory_mb=self.memory_mb)

    def node(self) -> Node:
        """This machine, also where jobs may use only a part of it."""
        return self._node

    def granted(self, ticket: Ticket) -> Mapping[str, float]:
        return {"cores": ticket.resources.cores, "memory_mb": ticket.resources.memory_mb}

    def refusal(self, resources: Resources) -> str:
        if resources.ranks > 1 and self.mpi is None:
            return f"it asks for {resources.ranks} ranks, and compute.mpi does not say what starts them here"
        if resources.cores > self.cores:
            return f"it asks for {resources.cores} cores, the local backend has {self.cores}"
        if resources.memory_mb > self.memory_mb:
            return f"it asks for {resources.memory_mb} MB, the local backend has {self.memory_mb} MB"
        return misfit(resources)

    def plan(self, waiting: Sequence[Resources], active: Sequence[Resources]) -> list[list[int]]:
        """First come, first served, one job per task; nothing overtakes a job that waits for room."""
        cores = self.cores - sum(asked.cores for asked in active)
        memory = self.memory_mb - sum(asked.memory_mb for asked in active)
        groups: list[list[int]] = []
        for index, asked in enumerate(waiting):
            cores, memory = cores - asked.cores, memory - asked.memory_mb
            if cores < 0 or memory < 0:
                break
            groups.append([index])
        return groups

    def command(self, argv: Sequence[str], resources: Resources | None = None) -> list[str]:
        program = [sys.executable if argv[0] == "python" else argv[0], *argv[1:]]
        return (self.mpi or Mpi()).command(program, resources)

    def submit(self, task: Task) -> Submission:
        for ticket in task.members:
            self._start(ticket)
        return Submission(Verdict.ACCEPTED, handle=launcher.host())

    def _start(self, ticket: Ticket) -> None:
        log = ticket.folder / "launcher.log"
        with files.storage(log, "cannot start a job"), log.open("ab") as stream:
            self._started[ticket.id] = subprocess.Popen(
                [sys.executable, "-P", LAUNCHER, str(ticket.folder)],
                cwd=ticket.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def find(self, tasks: Sequence[Task]) -> Mapping[str, Submission]:
        """A task is there if its attempt is claimed. If it is not, starting it again cannot do harm."""
        return {
            task.token: Submission(Verdict.ACCEPTED, handle=launcher.host())
            if all(_attempt.claimed(ticket.folder) for ticket in task.members)
            else Submission(Verdict.ABSENT)
            for task in tasks
        }

    def poll(self, tickets: Sequence[Ticket]) -> Mapping[tuple[str, int], Status]:
        return {ticket.id: self._status(ticket) for ticket in tickets}

    def _status(self, ticket: Ticket) -> Status:
        process = self._started.get(ticket.id)
        code = None if process is None else process.poll()  # also buries it: a zombie would look alive
        ending = _attempt.read_exit(ticket.folder)
        if ending is not None:
            if process is not None and code is None:
                process.wait()  # its last act is done: it ends within milliseconds
            self._started.pop(ticket.id, None)
            return _attempt.status_of_exit(ending, ticket.folder)
        claim = _attempt.claimed(ticket.folder)
        if claim is None:
            if process is not None and code is None:
                return Status(Phase.WAITING)
            self._started.pop(ticket.id, None)
            return Status(Phase.ABSENT)
        return self._status_of_claim(ticket, claim)

    def _status_of_claim(self, ticket: Ticket, claim: Mapping[str, object]) -> Status:
        if "revoked" in claim:
            return _attempt.status_of_revoked(claim)
        if claim.get("host") != launcher.host():
            return _elsewhere(ticket, claim)
        pid = int(str(claim["pid"]))
        if launcher.process_identity(pid) == claim["identity"]:
            return Status(Phase.RUNNING)
        ending = _attempt.read_exit(ticket.folder)  # it may have ended between the two looks
        if ending is not None:
            return _attempt.status_of_exit(ending, ticket.folder)
        _end_leftovers(ticket)
        self._started.pop(ticket.id, None)
        said = files.tail(ticket.folder / "launcher.log", 500)
        message = f"the job's process {pid} is gone and left no result. {said}".strip()
        return Status(Phase.ENDED, OutcomeKind.CRASHED, "vanished", message)

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            claim = _attempt.claimed(ticket.folder) or {}
            pid = claim.get("pid")
            if claim.get("host") == launcher.host() and pid and launcher.process_identity(pid) == claim["identity"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


def _elsewhere(ticket: Ticket, claim: Mapping[str, object]) -> Status:
    """A job that a driver on another machine started: its process cannot be seen, only its time be waited for."""
    deadline = float(str(claim["started"])) + ticket.resources.walltime_s + OTHER_HOST_GRACE_S
    if time.time() < deadline:
        return Status(Phase.UNKNOWN)
    message = f"started on {claim['host']}, its walltime is over, and it left no result"
    return Status(Phase.ENDED, OutcomeKind.CRASHED, "vanished", message)


def _end_leftovers(ticket: Ticket) -> None:
    """The launcher is gone: its calculation must be too before another attempt starts."""
    child = files.read_object(ticket.folder / "running.json") or {}
    pid = child.get("pid")
    if pid and launcher.process_identity(pid) == child.get("identity"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
