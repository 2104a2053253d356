"""The program of one shard of a screen: reads ``job.json`` in its folder, publishes the shard, then ``result.json``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from materia import files
from materia.campaign._shards import predict_shard
from materia.errors import MateriaError


def run(folder: Path) -> dict[str, Any]:
    """Run the job in ``folder``; returns what was published as ``result.json``."""
    job = json.loads((folder / "job.json").read_text())
    began = time.monotonic()
    result: dict[str, Any] = {"version": 1, "key": job["key"], "attempt": job["attempt"], "status": "completed"}
    try:
        note = predict_shard(Path(job["work"]), job["shard"], device=job["device"], threads=job["threads"])
        result["values"] = {"shard": job["shard"], "n": note["n"], "n_quarantined": len(note["quarantine"])}
    except MateriaError as error:
        result |= {"status": "failed", "reason": type(error).__name__, "message": error.what, "retryable": False}
    result["provenance"] = {"wall_s": time.monotonic() - began}
    files.write_whole(folder / "result.json", json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    run(Path.cwd())
    sys.exit(0)
