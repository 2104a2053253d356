"""The job of the conformance tests: notes that it ran, then behaves as ``job.json`` says. Standard library only.

``behaviour``: ``complete``, ``fail`` (the science), ``crash``, ``abort`` (a signal), ``hang``, ``memory``, ``silent``
(ends well without a result), ``truncated``, ``foreign``, or a list of these, one per attempt.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    job = json.loads(Path("job.json").read_text())
    with Path(job["counter"]).open("a") as stream:
        stream.write(f"start {job['key']} {job['attempt']}\n")
    behaviour = job["behaviour"]
    if isinstance(behaviour, list):
        behaviour = behaviour[min(job["attempt"], len(behaviour)) - 1]
    time.sleep(job.get("seconds", 0.0))
    if behaviour == "crash":
        sys.stderr.write("this program has a bug\n")
        return 3
    if behaviour == "abort":
        os.abort()
    if behaviour == "hang":
        time.sleep(3600)
    if behaviour == "memory":
        block = bytearray(int(job["megabytes"]) * 1_000_000)
        block[::4096] = b"x" * len(block[::4096])
        time.sleep(10)
    if behaviour != "silent":
        _publish(job, behaviour)
    with Path(job["counter"]).open("a") as stream:
        stream.write(f"end {job['key']} {job['attempt']}\n")
    return 0


def _publish(job: dict, behaviour: str) -> None:  # type: ignore[type-arg]
    failed = behaviour == "fail"
    result = {
        "version": 1,
        "key": "another" if behaviour == "foreign" else job["key"],
        "attempt": job["attempt"],
        "status": "failed" if failed else "completed",
        "reason": "not_converged" if failed else "",
        "message": "it did not converge" if failed else "",
        "values": {"square": job.get("number", 0) ** 2, "threads": os.environ.get("OMP_NUM_THREADS")},
        "provenance": {"program": "testjob"},
    }
    text = json.dumps(result)
    temporary = Path("result.json.tmp")
    temporary.write_text(text[: len(text) // 2] if behaviour == "truncated" else text)
    temporary.replace("result.json")


if __name__ == "__main__":
    sys.exit(main())
