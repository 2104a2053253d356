"""The Slurm backend: arrays through sbatch, squeue, sacct and scancel, nothing else."""

from __future__ import annotations

import datetime
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from materia.compute import _attempt, _files, _slurm_text
from materia.compute._backend import Phase, Status, Submission, Task, Ticket, Verdict
from materia.compute._local import LAUNCHER
from materia.compute._retries import Limits
from materia.compute._site import Site
from materia.errors import SchedulerError
from materia.record import OutcomeKind, Resources

_BATCH = 200  # ids or names on one command line
_AMBIGUOUS_SIGNALS = (-15, -9)
_OF_SLURM = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SRUN_")
_DEVICES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")  # a job's own


class _UnansweredError(Exception):
    """A question to Slurm has no answer: never a reason to act."""


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
        self.trouble = ""
        self._asked_at = -math.inf
        self._known: dict[tuple[str, int], Status] = {}
        self._missing_since: dict[tuple[str, int], float] = {}
        self._tried_at: dict[str, float] = {}
        self._others_waiting = False
        self._searched_at = self._busy_at = -math.inf
        self._need("sbatch")

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
        return ""

    def plan(self, waiting: Sequence[Resources], active: Sequence[Resources]) -> list[list[int]]:
        """Jobs that ask for the same go into one array; the order is kept."""
        self._others_waiting = bool(active)
        if time.monotonic() - self._busy_at < self.poll_interval_s:
            return []
        allowed = self.site.limits().submitted
        room = len(waiting) if allowed is None else max(0, allowed - len(active))
        groups: dict[Resources, list[int]] = {}
        for index, asked in list(enumerate(waiting))[:room]:
            groups.setdefault(asked, []).append(index)
        size = self.site.array_size
        return [members[i : i + size] for members in groups.values() for i in range(0, len(members), size)]

    def command(self, argv: Sequence[str]) -> list[str]:
        """``python``, or the driver's own interpreter, becomes the site's."""
        return [self._python if argv[0] in ("python", sys.executable) else argv[0], *argv[1:]]

    @property
    def _python(self) -> str:
        return self.site.python or sys.executable

    # ------------------------------------------------------------------ submit

    def submit(self, task: Task) -> Submission:
        _files.write_folder(
            task.folder,
            {
                "members.json": _files.dump({"folders": [str(member.folder) for member in task.members]}),
                "job.sh": self._script(task),
            },
        )
        self._tried_at[task.token] = time.time()
        try:
            answer = self._run("sbatch", *self.options(task), str(task.folder / "job.sh"))
        except subprocess.TimeoutExpired:
            said = Submission(Verdict.UNKNOWN, words=f"sbatch gave no answer in {self.site.command_timeout_s} s")
        else:
            said = _slurm_text.read_submission(
                answer.returncode, answer.stdout, answer.stderr, others_waiting=self._others_waiting
            )
        if said.verdict is Verdict.BUSY:
            self._busy_at = time.monotonic()
        self._others_waiting |= said.verdict is Verdict.ACCEPTED
        self.trouble = said.words if said.verdict in (Verdict.UNKNOWN, Verdict.BUSY) else ""
        return said

    def _script(self, task: Task) -> str:
        """The job script: no name, formula or path reaches the shell unquoted."""
        folder = shlex.quote(str(task.folder))
        run = [self._python, "-P", LAUNCHER, "--member", str(task.folder / "members.json")]
        lines = [
            "#!/bin/bash",
            "# One member of this array runs one attempt; members.json says which.",
            f'exec >>{folder}/"member-$SLURM_ARRAY_TASK_ID.log" 2>&1',
            *self.site.environment,
            f'exec {shlex.join(run)} "$SLURM_ARRAY_TASK_ID"',
        ]
        return "\n".join(lines) + "\n"

    def options(self, task: Task) -> list[str]:
        """What sbatch is asked for, the site's own options last."""
        site, asked = self.site, task.members[0].resources
        throttle = f"%{site.array_throttle}" if site.array_throttle else ""
        cores = max(asked.cores, site.min_cores)
        if site.memory_per_core_mb:
            cores = max(cores, math.ceil((asked.memory_mb + site.memory_margin_mb) / site.memory_per_core_mb))
        options = {
            "job-name": task.token,
            "array": f"0-{len(task.members) - 1}{throttle}",
            "nodes": "1",
            "ntasks": "1",
            "cpus-per-task": str(cores),
            "time": str(math.ceil((asked.walltime_s + site.walltime_margin_s) / 60)),
            "partition": site.partition,
            "qos": site.qos,
            "account": site.account,
            "constraint": site.constraint,
            "mem": f"{asked.memory_mb + site.memory_margin_mb}M" if site.request_memory else None,
            "chdir": "/",  # every path in the script is absolute
            "output": "/dev/null",  # the script opens its own log: Slurm would expand % and \ in its path
        }
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        return ["--parsable", "--no-requeue", *given, *site.options]

    def find(self, tasks: Sequence[Task]) -> Mapping[str, Submission]:
        """Queue, then accounting. Absent only if both answered and no submission can still be on its way."""
        if time.monotonic() - self._searched_at < self.poll_interval_s:
            return {}
        self._searched_at = time.monotonic()
        tokens = [task.token for task in tasks]
        try:
            records = list(self._queue(tokens))
            unseen = set(tokens) - {record.token for record in records}
            records += self._accounting(sorted(unseen), min(task.since for task in tasks))
        except _UnansweredError:
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
        statuses: dict[tuple[str, int], Status] = {}
        open_tickets = []
        for ticket in tickets:
            said = self._word_of_launcher(ticket)
            if said is None:
                open_tickets.append(ticket)
            else:
                statuses[ticket.id] = said
        if open_tickets and time.monotonic() - self._asked_at >= self.site.poll_interval_s:
            self._ask(open_tickets)
        for ticket in open_tickets:
            statuses[ticket.id] = self._known.get(ticket.id, Status(Phase.UNKNOWN))
        return statuses

    def _word_of_launcher(self, ticket: Ticket) -> Status | None:
        """The ending in ``exit.json``, unless a signal ended it: then Slurm knows whose and why."""
        ending = _attempt.read_exit(ticket.folder)
        if ending is None or ending.status == "terminated":
            return None
        if ending.status == "exited" and ending.returncode in _AMBIGUOUS_SIGNALS:
            return None
        return _attempt.status_of_exit(ending, ticket.folder)

    def _ask(self, tickets: Sequence[Ticket]) -> None:
        self._asked_at, self._known = time.monotonic(), {}
        tokens = sorted({ticket.token for ticket in tickets})
        try:
            records = list(self._queue(tokens))
            seen = _slurm_text.liveliest(records)
            missing = [ticket for ticket in tickets if (ticket.token, ticket.slot) not in seen]
            if missing:
                names = sorted({ticket.token for ticket in missing})
                accounted = self._accounting(names, min(ticket.since for ticket in missing))
                seen = {**_slurm_text.liveliest(accounted), **seen}
        except _UnansweredError:
            return
        for ticket in tickets:
            status = seen.get((ticket.token, ticket.slot))
            self._known[ticket.id] = self._when_missing(ticket) if status is None else self._explained(ticket, status)
            if status is not None:
                self._missing_since.pop(ticket.id, None)

    def _explained(self, ticket: Ticket, status: Status) -> Status:
        if status.phase is not Phase.ENDED or status.kind is not OutcomeKind.CRASHED:
            return status
        ending = _attempt.read_exit(ticket.folder)
        if ending is not None:
            return _attempt.status_of_exit(ending, ticket.folder)
        log = self._log(ticket)
        message = f"{status.message}. {log}" if log else status.message
        return Status(status.phase, status.kind, status.reason, message, status.retryable, status.patient)

    def _when_missing(self, ticket: Ticket) -> Status:
        """Queue and accounting both answered and neither knows it: believed after a while only."""
        since = self._missing_since.setdefault(ticket.id, time.monotonic())
        if time.monotonic() - since < self.site.settle_s:
            return Status(Phase.UNKNOWN)
        claim = _attempt.claimed(ticket.folder)
        if claim is None:
            return Status(Phase.ABSENT)
        if "revoked" in claim:
            return _attempt.status_of_revoked(claim)
        message = f"neither queue nor accounting knows job {ticket.handle}_{ticket.slot} any more"
        return Status(Phase.ENDED, OutcomeKind.NODE_FAILURE, "vanished", message)

    def _log(self, ticket: Ticket) -> str:
        folder = ticket.folder.parents[2] / "tasks" / ticket.token
        return _files.tail(folder / f"member-{ticket.slot}.log", 500)

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """Ask Slurm to end them. If it cannot be asked, the fence in the attempt folder still holds."""
        jobs = [f"{ticket.handle}_{ticket.slot}" for ticket in tickets if ticket.handle]
        for start in range(0, len(jobs), _BATCH):
            try:
                self._ask_slurm("scancel", *jobs[start : start + _BATCH])
            except _UnansweredError:
                return

    # ------------------------------------------------------------------ questions

    def _queue(self, tokens: Sequence[str]) -> Iterable[_slurm_text.Record]:
        options = ("-h", "-a", "-r", "-u", str(os.getuid()), "-t", "all", "-o", _slurm_text.SQUEUE_FORMAT)
        text = self._ask_slurm("squeue", *options, f"--name={','.join(tokens)}")
        return _slurm_text.parse_squeue(text)

    def _accounting(self, tokens: Sequence[str], since: float) -> Iterable[_slurm_text.Record]:
        if not tokens or not self.site.accounting:
            return []
        day_before = datetime.datetime.fromtimestamp(since - 86400).strftime("%Y-%m-%dT%H:%M:%S")
        options = ("-n", "-X", "-P", "-D", "-S", day_before, "-o", _slurm_text.SACCT_FORMAT)
        text = self._ask_slurm("sacct", *options, f"--name={','.join(tokens)}")
        return _slurm_text.parse_sacct(text)

    def _ask_slurm(self, program: str, *arguments: str) -> str:
        try:
            answer = self._run(program, *arguments)
        except subprocess.TimeoutExpired as error:
            self.trouble = f"{program} gave no answer in {self.site.command_timeout_s} s"
            raise _UnansweredError from error
        if answer.returncode != 0:
            self.trouble = f"{program}: {answer.stderr.strip() or f'ended with {answer.returncode}'}"
            raise _UnansweredError
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
    return {
        name: value
        for name, value in os.environ.items()
        if (name == "SLURM_CONF" or not name.startswith(_OF_SLURM)) and not (inside and name in _DEVICES)
    }
