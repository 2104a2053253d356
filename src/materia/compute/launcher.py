"""The program that runs one attempt of a job, on this machine or on a node of a cluster.

    python -P launcher.py FOLDER              one attempt folder
    python -P launcher.py --member FILE N     the N-th folder named in a task's ``members.json``
                          [--heartbeat SECONDS]

It stands between the driver and the calculation, so that neither has to trust the other to be alive:

1. claims the folder (``claim.json``, created whole by link): of several launchers started for one attempt,
   after a crash or a requeue, one runs it and the others leave with exit code 75;
2. runs ``argv`` of ``task.json`` in the folder, in a session of its own, output in ``stdout.log``, ``stderr.log``,
   and touches the claim all the while: a driver that is told of a dead node can see whether this process is dead;
3. ends it at the walltime, above the memory, or when it is itself told to end, by a signal or a file ``cancel``;
4. publishes ``exit.json`` by rename: how it ended, wall and CPU seconds, peak memory.

Standard library only, and started by path: it imports nothing of materia, so it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

CLAIMED_BY_ANOTHER = 75
GRACE_S = 2.0  # between SIGTERM and SIGKILL
MEMORY_CHECK_S = 0.5
HEARTBEAT_S = 30.0
_PR_SET_PDEATHSIG = 1


def host() -> str:
    return os.uname().nodename


def process_identity(pid: int) -> str | None:
    """What tells this process from a later one with the same number; None if it is gone (or a zombie).

    Linux: boot id, number and start time in clock ticks (``/proc/PID/stat``, field 22). Elsewhere: ``ps``.
    """
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        if fields[0] in "ZX":
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{pid}:{fields[19]}"
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return None if not answer or answer[0].startswith("Z") else f"ps:{pid}:{'-'.join(answer[1:])}"


def publish(path: Path, value: dict[str, Any], *, only_if_new: bool = False) -> bool:
    """Write JSON whole: fsync, then rename, or link where it must not be there yet. Whether it was written."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        if not only_if_new:
            temporary.replace(path)
            return True
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        return temporary.stat().st_nlink == 2
    finally:
        temporary.unlink(missing_ok=True)


def memory_mb(*pids: int) -> float:
    """Resident memory of processes and their descendants in MB (0 where there is no ``/proc``)."""
    total, stack, seen = 0, list(pids), set[int]()
    page = os.sysconf("SC_PAGE_SIZE")
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{current}/statm").read_text().split()[1]) * page
            for children in Path(f"/proc/{current}/task").glob("*/children"):
                stack.extend(int(child) for child in children.read_text().split())
    return total / 1e6


def marked(mark: str) -> list[int]:
    """Processes of ours that were started with ``mark`` (``NAME=VALUE``) in their environment.

    The ranks of an MPI program are children of Slurm's or MPI's own daemons, not of what was started here.
    """
    found, wanted = [], os.fsencode(mark)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far (``/proc/PID/stat``, fields 14 and 15); 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def die_with_parent(parent: int) -> None:
    """In the child: be killed when the launcher is, so that no calculation outlives its record."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _Run:
    """One child process and the reasons to end it."""

    def __init__(self, task: dict[str, Any], folder: Path, heartbeat_s: float) -> None:
        self.task, self.folder, self.heartbeat_s = task, folder, heartbeat_s
        self.told_to_end = False
        self.peak_mb = 0.0
        self.mark = f"MATERIA_ATTEMPT_FOLDER={folder}" if task.get("ranks", 1) > 1 else ""
        self.ranks_cpu_s: dict[int, float] = {}
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.told_to_end = True

    def __call__(self) -> dict[str, Any]:
        started, clock = time.time(), time.monotonic()
        record: dict[str, Any] = {"status": "exited", "returncode": None, "error": ""}
        launcher = os.getpid()
        with (self.folder / "stdout.log").open("ab") as out, (self.folder / "stderr.log").open("ab") as err:
            try:
                child = subprocess.Popen(
                    self.task["argv"],
                    cwd=self.folder,
                    env={**os.environ, **self.task["env"], "MATERIA_ATTEMPT_FOLDER": str(self.folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    preexec_fn=lambda: die_with_parent(launcher),
                )
            except (OSError, subprocess.SubprocessError) as error:
                record |= {"status": "not_started", "error": str(error)}
            else:
                publish(self.folder / "running.json", {"pid": child.pid, "identity": process_identity(child.pid)})
                record["status"] = self._watch(child, clock)
                record["returncode"] = child.returncode
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        scale = 1e6 if sys.platform == "darwin" else 1e3
        return record | {
            "started": started,
            "ended": time.time(),
            "wall_s": time.monotonic() - clock,
            "cpu_s": max(usage.ru_utime + usage.ru_stime, sum(self.ranks_cpu_s.values())),
            "max_rss_mb": max(usage.ru_maxrss / scale, self.peak_mb),  # largest process; all of them, as sampled
        }

    def _watch(self, child: subprocess.Popen[bytes], clock: float) -> str:
        next_check, next_beat = clock, clock + self.heartbeat_s
        status = "exited"
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=0.2)
                break
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + self.heartbeat_s
                with contextlib.suppress(OSError):
                    os.utime(self.folder / "claim.json")
                self.told_to_end |= (self.folder / "cancel").exists()
            if self.told_to_end:
                status = "terminated"
            elif now - clock > self.task["walltime_s"]:
                status = "timeout"
            elif now >= next_check:
                next_check = now + MEMORY_CHECK_S
                now_mb = self._memory_mb(child.pid)
                self.peak_mb = max(self.peak_mb, now_mb)
                if now_mb > self.task["memory_mb"]:
                    status = "out_of_memory"
            if status != "exited":
                _signal_group(child.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=GRACE_S)
                break
        _signal_group(child.pid, signal.SIGKILL)  # and whatever it left behind
        for pid in marked(self.mark) if self.mark else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        child.wait()
        if status == "exited" and self.told_to_end and child.returncode in (-signal.SIGTERM, -signal.SIGKILL):
            return "terminated"  # the scheduler signalled the child as well
        return status

    def _memory_mb(self, child: int) -> float:
        """Of the program, all its ranks together; their CPU seconds are noted by the way."""
        if not self.mark:
            return memory_mb(child)
        ranks = marked(self.mark)
        for pid in ranks:  # 0 once it is gone
            self.ranks_cpu_s[pid] = max(cpu_s(pid), self.ranks_cpu_s.get(pid, 0.0))
        return memory_mb(child, *ranks)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def run_attempt(folder: Path, heartbeat_s: float = HEARTBEAT_S) -> int:
    """Claim and run the attempt in ``folder``; the exit code of this program."""
    task = json.loads((folder / "task.json").read_text())
    who = {
        "token": task["token"],
        "key": task["key"],
        "attempt": task["attempt"],
        "host": host(),
        "pid": os.getpid(),
        "identity": process_identity(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "slurm_slot": os.environ.get("SLURM_ARRAY_TASK_ID", ""),
        "slurm_restart": os.environ.get("SLURM_RESTART_COUNT", "0"),
    }
    if not publish(folder / "claim.json", {**who, "started": time.time()}, only_if_new=True):
        return CLAIMED_BY_ANOTHER
    record = _Run(task, folder, heartbeat_s)()
    publish(folder / "exit.json", {"version": 1, **who, **record})
    return 0 if record["status"] == "exited" and record["returncode"] == 0 else 1


def main(arguments: list[str]) -> int:
    heartbeat_s = HEARTBEAT_S
    if "--heartbeat" in arguments:
        heartbeat_s = float(arguments[arguments.index("--heartbeat") + 1])
    if arguments[0] == "--member":
        members = json.loads(Path(arguments[1]).read_text())["folders"]
        folder = Path(members[int(arguments[2])])
        code = run_attempt(folder, heartbeat_s)
        if code == CLAIMED_BY_ANOTHER:  # requeued: the queue will only say that this job failed
            (folder / "turned-away").touch()
        return code
    return run_attempt(Path(arguments[0]), heartbeat_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
