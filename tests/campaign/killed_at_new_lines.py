"""Work that is SIGKILLed before every STRIDE-th line of its files nobody died at yet, until one child gets through.

python killed_at_new_lines.py STRIDE finish CAMPAIGN
python killed_at_new_lines.py STRIDE validate CAMPAIGN
python killed_at_new_lines.py STRIDE veto CAMPAIGN CANDIDATE

Prints how many were killed. This process only imports and forks: a child of one that has used polars hangs.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import optuna  # noqa: F401
import polars  # noqa: F401

from materia.campaign import _decide, _loop

ROOM = Path(_loop.__file__).parent
WATCHED = {
    "finish": {"_people.py", "_overrides.py", "_loop.py", "_climb.py", "_database.py"},
    "validate": {"_validate.py", "_phases.py", "_climb.py"},
    "veto": {"_decide.py"},
}


def finish(folder: str) -> None:
    with _loop.open_driver(None, Path(folder)) as driver:
        while driver.step().phase is not _loop.Phase.FINISHED:
            pass


def veto(folder: str, candidate: str) -> None:
    from materia.record import load_campaign

    if not load_campaign(folder).overrides:  # as a person looks who is not sure that it arrived
        _decide.veto(folder, candidate, why="no zinc", who="Ada")


def tracer(seen: set[str], watched: set[str], stride: int, writing: int) -> Callable[..., Any]:
    new: list[str] = []

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(str(ROOM)) or os.path.basename(path) not in watched:  # noqa: PTH119
            return None
        line = f"{os.path.basename(path)}:{frame.f_lineno}"  # noqa: PTH119
        if event == "line" and line not in seen and line not in new:
            new.append(line)
            if len(new) == stride:
                os.write(writing, "\n".join(new).encode())
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def main(stride: int, work: str, *arguments: str) -> int:
    seen: set[str] = set()
    kills = 0
    while True:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            sys.settrace(tracer(seen, WATCHED[work], stride, writing))
            code = 1
            try:
                {"finish": finish, "validate": finish, "veto": veto}[work](*arguments)
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as stream:
            seen.update(stream.read().split())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return kills
        if status != -signal.SIGKILL:
            sys.exit(f"the work ended with {status}")
        kills += 1


print(main(int(sys.argv[1]), *sys.argv[2:]))
