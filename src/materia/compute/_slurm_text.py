"""What Slurm says, and what it means. Text in, values out: nothing here talks to Slurm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from materia.compute._backend import Phase, Status, Submission, Verdict
from materia.record import OutcomeKind

SQUEUE_FORMAT: Final = "%j|%F|%K|%A|%T|%N|%r"
SACCT_FORMAT: Final = "JobName,JobID,JobIDRaw,State,NodeList,ExitCode"
NOT_LAUNCHED: Final = "NOT_LAUNCHED"  # materia's word, see launched()
NO_NAME: Final = "CANCELLED by nobody"  # materia's word for accounting's CANCELLED without the name of a user

# By prefix, since states come with additions ("CANCELLED by 0") and are cut ("OUT_OF_ME+").
_PHASES: Final = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUE", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED"), Phase.WAITING),
    **dict.fromkeys(("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"), Phase.RUNNING),
}
_ENDINGS: Final = {
    "COMPLETED": OutcomeKind.CRASHED,  # if there is no result in spite of it
    "FAILED": OutcomeKind.CRASHED,
    NO_NAME: OutcomeKind.NODE_FAILURE,  # the controller lost it: a person's has the name
    NOT_LAUNCHED: OutcomeKind.NODE_FAILURE,
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
_NO_NODE: Final = ("None assigned", "(null)", "")
_SLOTS: Final = re.compile(r"\[(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)(?:%\d+)?\]")
_OVER_LIMIT: Final = re.compile(r"violates accounting/QOS policy|MaxSubmitJob|job submit limit", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One array member in the queue or in accounting."""

    token: str
    job: str
    slot: int | None
    state: str
    detail: str  # squeue: the reason it pends; sacct: exit code and signal
    node: str = ""  # where it was started, if it was
    leads: bool = False  # its own number is that of the array: ended by number, it takes the others along


def parse_squeue(text: str) -> Iterator[Record]:
    """Lines of ``squeue -h -a -r -t all -o SQUEUE_FORMAT``."""
    for line in text.splitlines():
        parts = line.split("|", 6)
        if len(parts) == 7:
            token, job, slot, own, state, node, reason = (part.strip() for part in parts)
            yield Record(token, job, int(slot) if slot.isdigit() else None, state, reason, node, own == job)


def parse_sacct(text: str) -> Iterator[Record]:
    """Lines of ``sacct -n -X -P -o SACCT_FORMAT``: one record a member.

    Members that never started share a line (``12_[0,2-5%2]``); such a line without its members has a record without
    a slot.
    """
    for line in text.splitlines():
        parts = line.split("|", 5)
        if len(parts) == 6:
            token, name, own, state, node, code = (part.strip() for part in parts)
            job, _, slot = name.partition("_")
            state = NO_NAME if state == "CANCELLED" else state
            one = Record(token, job, None, state, code, "" if node in _NO_NODE else node, own == job)
            slots = [int(slot)] if slot.isdigit() else _slots(slot)
            yield from [replace(one, slot=number) for number in slots] or [one]


def _slots(text: str) -> list[int]:
    """Of ``[0,2-5%2]``: 0, 2, 3, 4, 5; none of a text that is cut off or has another form."""
    match = _SLOTS.fullmatch(text)
    slots: list[int] = []
    for part in match[1].split(",") if match else ():
        first, _, last = part.partition("-")
        slots += range(int(first), int(last or first) + 1)
    return slots


def launched(records: Iterable[Record], began: Callable[[Record], bool]) -> Iterator[Record]:
    """The records, NOT_LAUNCHED those that Slurm cancelled on its own because a node would not start one.

    A controller killed before it saved that it took a job forgets it and gives its number to another. The node knows
    the number and refuses ("Job 12 already running, do not launch second copy"); without ``--requeue`` it has number
    12 cancelled, all of the array where that is the array's own, in words and by a user (root) that may be a
    person's too (seen with Slurm 22.05). A person cancels what waits and has no node, or what runs and has begun.

    Args:
        began: whether the script of this array member has begun.
    """
    found = list(records)
    refused = {id(r) for r in found if r.state.startswith("CANCELLED") and r.node and not began(r)}
    arrays = {(r.token, r.job) for r in found if id(r) in refused and r.leads}
    for record in found:
        with_all = record.state.startswith("CANCELLED") and (record.token, record.job) in arrays
        yield replace(record, state=NOT_LAUNCHED) if with_all or id(record) in refused else record


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
            reason = (record.state.replace(" ", "_") if prefix == NO_NAME else record.state.split()[0]).lower()
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
