"""What Slurm says, and what it means. Text in, values out: nothing here talks to Slurm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from materia.compute._backend import Phase, Status, Submission, Verdict
from materia.record import OutcomeKind

SQUEUE_FORMAT: Final = "%j|%F|%K|%T|%r"
SACCT_FORMAT: Final = "JobName,JobID,State,ExitCode"

# By prefix, since states come with additions ("CANCELLED by 0") and are cut ("OUT_OF_ME+").
_PHASES: Final = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUE", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED"), Phase.WAITING),
    **dict.fromkeys(("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"), Phase.RUNNING),
}
_ENDINGS: Final = {
    "COMPLETED": OutcomeKind.CRASHED,  # if there is no result in spite of it
    "FAILED": OutcomeKind.CRASHED,
    "CANCELLED": OutcomeKind.CANCELLED,
    "TIMEOUT": OutcomeKind.TIMEOUT,
    "DEADLINE": OutcomeKind.TIMEOUT,
    "OUT_OF_ME": OutcomeKind.OUT_OF_MEMORY,
    "NODE_FAIL": OutcomeKind.NODE_FAILURE,
    "BOOT_FAIL": OutcomeKind.NODE_FAILURE,
    "PREEMPTED": OutcomeKind.NODE_FAILURE,
    "REVOKED": OutcomeKind.NODE_FAILURE,
}
# Slurm accepts these jobs and lets them pend for ever. Limits per user or account pass, and are not here.
_NEVER_STARTS: Final = re.compile(
    r"(QOS|Assoc)Max\w*Per(Job|Node)(Limit)?|(QOS|Assoc)MaxWallDurationPerJobLimit|QOSTimeLimit|AssocTimeLimit"
    r"|QOSMin\w+"
    r"|Partition(Config|TimeLimit|NodeLimit)|DependencyNeverSatisfied|BadConstraints"
    r"|QOSNotAllowed|AccountNotAllowed|Invalid(QOS|Account)"
)
# The controller may or may not have the job: sbatch gave up on the way.
_CUT_OFF: Final = re.compile(
    r"contact|connect|socket|timed? ?out|timeout|temporarily|communication|transport|zero bytes"
    r"|unexpected message|try again|broken pipe|reset by peer|no route|slurmctld|responding|munge|authentication",
    re.IGNORECASE,
)
_OVER_LIMIT: Final = re.compile(r"violates accounting/QOS policy|MaxSubmitJob|job submit limit", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One array member in the queue or in accounting."""

    token: str
    job: str
    slot: int | None
    state: str
    detail: str  # squeue: the reason it pends; sacct: exit code and signal


def parse_squeue(text: str) -> Iterator[Record]:
    """Lines of ``squeue -h -a -r -t all -o SQUEUE_FORMAT``."""
    for line in text.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5:
            token, job, slot, state, reason = (part.strip() for part in parts)
            yield Record(token, job, int(slot) if slot.isdigit() else None, state, reason)


def parse_sacct(text: str) -> Iterator[Record]:
    """Lines of ``sacct -n -X -P -o SACCT_FORMAT``. A member not yet started has no slot (``12_[0-5%2]``)."""
    for line in text.splitlines():
        parts = line.split("|", 3)
        if len(parts) == 4:
            token, name, state, code = (part.strip() for part in parts)
            job, _, slot = name.partition("_")
            yield Record(token, job, int(slot) if slot.isdigit() else None, state, code)


def status_of(record: Record) -> Status:
    """What a record means, if there is neither a result nor the launcher's word."""
    for prefix, phase in _PHASES.items():
        if record.state.startswith(prefix):
            if phase is Phase.WAITING and _NEVER_STARTS.fullmatch(record.detail):
                message = f"Slurm accepted it and would never start it: {record.detail}"
                return Status(Phase.ENDED, OutcomeKind.REFUSED, record.detail, message, retryable=False)
            return Status(phase)
    for prefix, kind in _ENDINGS.items():
        if record.state.startswith(prefix):
            reason = record.state.split()[0].lower()
            message = f"Slurm says {record.state} (job {record.job}_{record.slot}, {record.detail})"
            return Status(Phase.ENDED, kind, reason, message, patient=prefix == "COMPLETED")
    return Status(Phase.UNKNOWN)


_CERTAINTY = (Phase.UNKNOWN, Phase.ENDED, Phase.WAITING, Phase.RUNNING)


def liveliest(records: Iterable[Record]) -> dict[tuple[str, int], Status]:
    """By token and slot: of several records of one member, the one that may still bring a result."""
    best: dict[tuple[str, int], Status] = {}
    for record in records:
        if record.slot is None:
            continue
        status, place = status_of(record), (record.token, record.slot)
        if place not in best or _CERTAINTY.index(status.phase) >= _CERTAINTY.index(best[place].phase):
            best[place] = status
    return best


def read_submission(returncode: int, out: str, err: str, *, others_waiting: bool) -> Submission:
    """What sbatch's answer means.

    Args:
        others_waiting: whether other jobs of this campaign are in the queue, so that a limit on their number
            may be what sbatch speaks of: then it is for now only.
    """
    words = err.strip()
    if returncode == 0:
        handle = out.strip().splitlines()[-1].split(";")[0] if out.strip() else ""
        if handle.isdigit():
            return Submission(Verdict.ACCEPTED, handle=handle)
        return Submission(Verdict.UNKNOWN, words=f"sbatch answered {out!r}")
    if returncode < 0 or not words or _CUT_OFF.search(words):
        return Submission(Verdict.UNKNOWN, words=words or f"sbatch ended with {returncode}")
    if others_waiting and _OVER_LIMIT.search(words):
        return Submission(Verdict.BUSY, words=words)
    return Submission(Verdict.REJECTED, words=words)
