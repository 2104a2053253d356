"""A pilot: one allocation that runs many jobs, pulled by claim, as long as they fit the time that is left.

    python -P pilot.py MEMBERS [--heartbeat SECONDS]

``MEMBERS`` is a task's ``members.json``: ``folders`` of the attempts and, under ``pilot``, ``slots`` (jobs at a
time) and ``walltime_s``. Every job is a forked launcher with a claim, a walltime and a memory limit of its own, so
that a job in a pilot ends the way it would end in an allocation of its own. A job is started only if all the time
it may take is left: no attempt is spent on the clock. Several pilots of one task share the list; whoever claims
a folder runs it. Standard library only, started by path, like the launcher.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Any

IDLE_S = 0.02
ENDING_S = 5.0  # what ending a job and writing its last word may take


def _load_launcher() -> Any:
    """The module beside this file, without importing the package it is in."""
    spec = importlib.util.spec_from_file_location("materia_launcher", Path(__file__).with_name("launcher.py"))
    if spec is None or spec.loader is None:
        raise ImportError("launcher.py is not beside pilot.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pilot:
    """Runs attempts until none is left that fits."""

    def __init__(self, folders: list[Path], slots: int, ends_at: float, heartbeat_s: float) -> None:
        self.launcher = _load_launcher()
        self.waiting = deque(folders)
        self.slots, self.ends_at, self.heartbeat_s = slots, ends_at, heartbeat_s
        self.children: set[int] = set()
        self.told_to_end = False
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.told_to_end = True
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    def __call__(self) -> int:
        while self.children or (self.waiting and not self.told_to_end):
            while self.waiting and len(self.children) < self.slots and not self.told_to_end:
                folder = self.waiting.popleft()
                if not (folder / "claim.json").exists() and self._fits(folder):
                    self._start(folder)
            if not self._bury() and self.children:
                time.sleep(IDLE_S)
        return 1 if self.told_to_end else 0

    def _fits(self, folder: Path) -> bool:
        try:
            asked = float(json.loads((folder / "task.json").read_bytes())["walltime_s"])
        except (OSError, ValueError, KeyError):
            traceback.print_exc()  # the folder stays unclaimed: the driver hands it over again
            return False
        return time.time() + asked + ENDING_S <= self.ends_at

    def _start(self, folder: Path) -> None:
        parent, signals = os.getpid(), {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # a signal finds either no child or a child that is known
        child = os.fork()
        if child:
            self.children.add(child)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            return
        code = 1
        try:
            for number in signals:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            self.launcher.die_with_parent(parent)
            code = self.launcher.run_attempt(folder, self.heartbeat_s)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _bury(self) -> bool:
        """Collect children that ended; whether there was one."""
        found = False
        for child in tuple(self.children):
            if os.waitpid(child, os.WNOHANG)[0]:
                self.children.discard(child)
                found = True
        return found


def main(arguments: list[str]) -> int:
    record = json.loads(Path(arguments[0]).read_text())
    heartbeat_s = float(arguments[arguments.index("--heartbeat") + 1]) if "--heartbeat" in arguments else 30.0
    folders = [Path(folder) for folder in record["folders"]]
    pilot = record["pilot"]
    # Pilots of one array start at different places of the list: fewer races for one claim.
    first = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")) * len(folders) // pilot["count"]
    ends_at = time.time() + float(pilot["walltime_s"])
    return Pilot(folders[first:] + folders[:first], pilot["slots"], ends_at, heartbeat_s)()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
