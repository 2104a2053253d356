"""Attempt folders: ``jobs/KEY/ATTEMPT`` with ``job.json`` for the program and ``task.json`` for the launcher."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from materia import files
from materia.compute._backend import Phase, Status, Ticket
from materia.errors import MateriaError
from materia.record import JobSpec, Outcome, OutcomeKind, to_json

RESULT_VERSION: Final = 1
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RESERVED = ("key", "attempt")


@dataclass(frozen=True)
class Exit:
    """The launcher's ``exit.json``."""

    status: str
    returncode: int | None
    wall_s: float
    cpu_s: float
    record: Mapping[str, Any] = field(default_factory=dict)


def check_key(key: str) -> None:
    """A key becomes a folder name, so it must be one.

    Raises:
        MateriaError: it holds anything but letters, digits, dot, dash and underscore, or over 128 of them.
    """
    if not _KEY.fullmatch(key):
        raise MateriaError(
            f"the job key {key[:200]!r} cannot be a folder name",
            remedy="use a content hash: letters, digits, '.', '-', '_', at most 128",
        )


def folder_of(root: Path, key: str, attempt: int) -> Path:
    return root / "jobs" / key / str(attempt)


def write_attempt(ticket: Ticket, spec: JobSpec, command: Sequence[str]) -> None:
    """Publish the attempt folder, whole; one that is already there is left alone.

    ``job.json`` is the payload with ``key`` and ``attempt`` beside its own entries; the program copies both
    into ``result.json``. The thread counts of the usual libraries are set to the cores of a rank; ``MATERIA_RANKS``
    says how many ranks there are to be. A program that keeps checkpoints finds those of the attempt before in the
    folder ``MATERIA_PREVIOUS_ATTEMPT``.
    """
    threads = str(ticket.resources.threads)
    earlier = [path for path in ticket.folder.parent.glob("[0-9]*") if int(path.name) < ticket.attempt]
    previous = str(max(earlier, key=lambda path: int(path.name))) if earlier else ""
    task = {
        "version": RESULT_VERSION,
        "key": ticket.key,
        "attempt": ticket.attempt,
        "token": ticket.token,
        "name": spec.name,
        "argv": list(command),
        "env": {
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "MATERIA_RANKS": str(ticket.resources.ranks),
            "MATERIA_JOB_KEY": ticket.key,
            "MATERIA_ATTEMPT": str(ticket.attempt),
            "MATERIA_PREVIOUS_ATTEMPT": previous,
        },
        **to_json(ticket.resources),
    }
    job = {**to_json(spec.payload), "key": ticket.key, "attempt": ticket.attempt}
    files.write_folder(ticket.folder, {"job.json": files.dump(job), "task.json": files.dump(task)})


def check_payload(spec: JobSpec) -> None:
    """Refuse a payload that is not JSON or that says something else about key or attempt.

    Raises:
        MateriaError: it does.
    """
    for name in _RESERVED:
        if name in spec.payload and (name == "attempt" or spec.payload[name] != spec.key):
            raise MateriaError(
                f"the payload of job {spec.name or spec.key} sets {name!r} to {spec.payload[name]!r}",
                remedy="leave it out: compute fills it in",
            )
    try:
        json.dumps(to_json(spec.payload), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MateriaError(f"the payload of job {spec.name or spec.key} is not JSON: {error}") from error


def claimed(folder: Path) -> dict[str, Any] | None:
    """Who claimed the attempt, or None."""
    return files.read_object(folder / "claim.json")


def fence(folder: Path, kind: OutcomeKind, reason: str, message: str) -> bool:
    """Claim an attempt so that no launcher ever runs it; False if one already has."""
    claim = {"revoked": kind.value, "reason": reason, "message": message}
    if files.link_new(folder / "claim.json", files.dump(claim)):
        return True
    return "revoked" in (claimed(folder) or {})


def tell_to_end(folder: Path) -> None:
    """Ask the launcher of a claimed attempt to end it: where no signal reaches one job of many in an allocation."""
    files.write_whole(folder / "cancel", "")


def status_of_revoked(claim: Mapping[str, Any]) -> Status:
    """How an attempt ended that a driver fenced off before anything ran it."""
    return Status(Phase.ENDED, OutcomeKind(claim["revoked"]), str(claim["reason"]), str(claim["message"]))


def read_exit(folder: Path) -> Exit | None:
    """How the launcher says the attempt ended, or None where it has not said."""
    record = files.read_object(folder / "exit.json")
    if record is None or "status" not in record:
        return None
    return Exit(
        status=str(record["status"]),
        returncode=record.get("returncode"),
        wall_s=float(record.get("wall_s", 0.0)),
        cpu_s=float(record.get("cpu_s", 0.0)),
        record=record,
    )


def status_of_exit(ending: Exit, folder: Path) -> Status:
    """What ``exit.json`` means if there is no valid result."""
    said = files.tail(folder / "stderr.log", 500).rpartition("\n")[2]
    after = f" after {ending.wall_s:.0f} s"
    match ending.status:
        case "timeout":
            return Status(Phase.ENDED, OutcomeKind.TIMEOUT, "walltime", f"the walltime was over{after}")
        case "out_of_memory":
            peak = float(ending.record.get("max_rss_mb", 0.0))
            message = f"more memory than asked for{after} (peak {peak:.0f} MB)"
            return Status(Phase.ENDED, OutcomeKind.OUT_OF_MEMORY, "memory", message)
        case "terminated":
            return Status(Phase.ENDED, OutcomeKind.NODE_FAILURE, "terminated", f"told to end{after}")
        case "not_started":
            error = str(ending.record.get("error", ""))
            return Status(Phase.ENDED, OutcomeKind.CRASHED, "not_started", error, retryable=False)
    code = ending.returncode or 0
    if code == 0:
        message = f"the program ended well{after} but left no result"
        return Status(Phase.ENDED, OutcomeKind.CRASHED, "no_result", message, patient=True)
    reason = f"signal_{_signal_name(-code)}" if code < 0 else f"exit_{code}"
    return Status(Phase.ENDED, OutcomeKind.CRASHED, reason, f"{reason}{after}: {said}".rstrip(": "))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def read_result(folder: Path, key: str, attempt: int, *, put_aside: bool = True) -> Outcome | None:
    """The outcome in ``result.json``, or None where there is none that can be believed.

    A truncated or foreign file is renamed out of the way (``put_aside``: not in a folder that is another's).
    """
    path = folder / "result.json"
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    fault, result = "", {}
    try:
        result = json.loads(text)
        fault = _fault(result, key, attempt)
    except ValueError as error:
        fault = f"no JSON: {error}"
    if fault:
        if put_aside:
            quarantine(path, fault)
        return None
    ok = result["status"] == "completed"
    return Outcome(
        key=key,
        kind=OutcomeKind.COMPLETED if ok else OutcomeKind.FAILED,
        retryable=not ok and result.get("retryable") is True,
        reason=str(result.get("reason", "")),
        message=str(result.get("message", "")),
        values=result["values"] if ok else {},
        provenance=result.get("provenance", {}),
        attempt=attempt,
    )


def _fault(result: Any, key: str, attempt: int) -> str:
    if not isinstance(result, dict):
        return "not a JSON object"
    expected = {"version": RESULT_VERSION, "key": key, "attempt": attempt}
    for name, value in expected.items():
        if result.get(name) != value:
            return f"{name} is {result.get(name)!r}, expected {value!r}"
    if result.get("status") not in ("completed", "failed"):
        return f"status is {result.get('status')!r}, expected 'completed' or 'failed'"
    for name in ("values", "provenance"):
        if not isinstance(result.get(name, {}), dict):
            return f"{name} is not a JSON object"
    if result["status"] == "completed" and "values" not in result:
        return "completed, but without values"
    return ""


def quarantine(path: Path, why: str) -> Path:
    """Rename a file that must not be believed, keep it, and say why beside it."""
    number = 1
    while (target := path.with_name(f"{path.name}.quarantined-{number}")).exists():
        number += 1
    with files.storage(path, "cannot put a damaged result aside"):
        path.rename(target)
    files.write_whole(target.with_name(f"{target.name}.why"), why + "\n")
    return target


def quarantined(folder: Path) -> str:
    """Why results in this folder were put aside; empty if none was."""
    return "; ".join(files.tail(path) for path in sorted(folder.glob("result.json.quarantined-*.why")))
