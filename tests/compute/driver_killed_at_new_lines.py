"""A driver that SIGKILLs itself in front of every STRIDE-th source line of materia.compute nobody died at yet.

python driver_killed_at_new_lines.py CAMPAIGN KILLED_FILE STRIDE
"""

import os
import signal
import sys
import threading
from pathlib import Path

from materia.compute import testing

PACKAGE = str(Path(testing.__file__).parents[1])
WATCHED = {"_manager.py", "_ledger.py", "_local.py", "_attempt.py", "files.py"}


def main() -> None:
    root, record, stride = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    killed = set(record.read_text().split()) if record.exists() else set()
    new = 0

    def trace(frame, event, _argument):
        nonlocal new
        path = frame.f_code.co_filename
        if not path.startswith(PACKAGE) or os.path.basename(path) not in WATCHED:  # noqa: PTH119
            return None
        line = f"{os.path.basename(path)}:{frame.f_lineno}"  # noqa: PTH119
        if event == "line" and line not in killed:
            killed.add(line)
            new += 1
            if new == stride:
                with record.open("a") as stream:
                    stream.write("\n".join(killed) + "\n")
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    assert threading.current_thread() is threading.main_thread()
    sys.settrace(trace)
    testing.run_driver(root)


main()
