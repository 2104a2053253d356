"""A driver of the benchmark: holds the lock and ticks until every job has its outcome.

    python driver.py CAMPAIGN [--die-at RECORD]

With ``--die-at`` it SIGKILLs itself in front of the first source line of the submit path that no driver before it
died at; RECORD keeps the lines.
"""

from __future__ import annotations

import dis
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import materia
from materia.compute import ComputeSettings, DriverLock, JobManager, Ledger, open_backend

PACKAGE = Path(materia.__file__).parent
# From the choice of what to submit to the id in the ledger: every function that runs on the way.
SUBMIT_PATH = {
    "compute/_manager.py": {"_reconcile", "_submit", "_without_running", "_number", "_open", "_hand_over"},
    "compute/_ledger.py": {
        "open_task",
        "accept",
        "release",
        "transaction",
        "_own_transaction",
        "_members",
        "tickets",
        "_move",
    },
    "compute/_slurm.py": {"plan", "_alike", "submit", "find"},
    "compute/_slurm_client.py": {"sbatch", "_run"},
    "compute/_slurm_script.py": {"shape_of", "task_files", "sbatch_options", "_script"},
    "compute/_attempt.py": {"write_attempt"},
    "files.py": {"write_folder", "_write_synced", "fsync_folder", "storage"},
}


def submit_path_lines() -> set[str]:
    """``file.py:line`` of every statement of those functions."""
    found: set[str] = set()
    for name, functions in SUBMIT_PATH.items():
        stack = [compile((PACKAGE / name).read_text(), name, "exec")]
        while stack:
            code = stack.pop()
            stack += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
            if code.co_name in functions:
                lines = {line for _, line in dis.findlinestarts(code) if line and line != code.co_firstlineno}
                found |= {f"{name}:{line}" for line in lines}
    return found


def die_at_new_lines(record: Path) -> None:
    """Install the trace that ends this process."""
    known = set(record.read_text().split()) if record.exists() else set()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""
        if frame.f_code.co_name not in SUBMIT_PATH.get(name, ()):
            return None
        line = f"{name}:{frame.f_lineno}"
        if event == "line" and line not in known:
            with record.open("a") as stream:
                stream.write(line + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def main() -> None:
    root = Path(sys.argv[1])
    settings = ComputeSettings.model_validate_json((root / "driver.json").read_text())
    with DriverLock(root):
        connection = sqlite3.connect(root / "campaign.sqlite", isolation_level=None)
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA synchronous=FULL")
        ledger = Ledger(connection)
        manager = JobManager(ledger, open_backend(settings), root, retries=settings.retries)
        if "--die-at" in sys.argv:
            die_at_new_lines(Path(sys.argv[sys.argv.index("--die-at") + 1]))
        while manager.active:
            manager.advance()
            time.sleep(0.2)
    print(json.dumps({state.value: number for state, number in ledger.counts().items()}))


if __name__ == "__main__":
    main()
