"""What learning from failed calculations is worth, where 30 % of them fail, in regions.

    python experiments/benchmarks/failures/run.py --records FOLDER [--folder replays] [--jobs N] [--quick]

FOLDER is searched for the published set that the replay file names. ``--quick`` plays two seeds on the project's own
dataset. The last line printed is the result as JSON: ``gain`` (calculations of the strategy that drops its failures
over those of the one that learns from them, to half of the hits that can be found), ``low`` and ``high`` (95 %).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from materia.campaign import replay
from materia.search.replay import DataSettings, ReplaySettings, load_replay

HERE = Path(__file__).parent
FILE = HERE / "hse_absorber.yaml"


def settings_of(records: Path | None, quick: bool) -> ReplaySettings:
    """The replay file, its records looked for below a folder; quickly: a smaller goal on the dataset that ships."""
    settings = load_replay(FILE)
    if quick:
        changes: dict[str, Any] = {"data": DataSettings(dataset="shipped"), "start": 20, "batch": 6, "seeds": 2}
        wanted = [o.model_copy(update={"quantity": "gap_pbe", "window": (0.6, 2.5)}) for o in settings.objectives]
        return settings.model_copy(update={**changes, "objectives": tuple(wanted)})
    name = Path(str(settings.data.records)).name
    found = [] if records is None else sorted(records.rglob(name))
    if not found:
        raise SystemExit(f"{name} is not below {records}: name the folder of the published datasets with --records")
    return settings.model_copy(update={"data": settings.data.model_copy(update={"records": str(found[0])})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, help="folder (searched below) with the published datasets")
    parser.add_argument("--folder", type=Path, default=None, help="where runs are kept; a run that was cut off goes on")
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="within a minute: two seeds on the project's dataset")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started, settings = time.time(), settings_of(args.records, args.quick)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="materia-failures-"))
    found = replay(settings, folder, jobs=args.jobs)
    learn, drop = found["strategies"]["learn"], found["strategies"]["drop"]
    gain = learn["against"]["drop"]
    rows = {
        name: {
            "calculations": row["calculations"]["value"],
            "acceleration": row["acceleration"]["value"],
            "reached": row["reached"],
            "cpu_s_round": round(sum(row["cpu_s_round"].values()), 3),
        }
        for name, row in (("learn", learn), ("drop", drop))
    }
    result = {
        "gain": gain["value"],
        "low": gain["low"],
        "high": gain["high"],
        "seeds": learn["seeds"],
        "strategies": rows,
        "goal": found["goal"],
        "failures": None if settings.failures is None else settings.failures.model_dump(),
        "wall_minutes_of_this_call": round((time.time() - started) / 60, 1),
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name).partition("+")[0] for name in ("materia", "scikit-learn", "numpy", "optuna")},
    }
    print(json.dumps(result))


if __name__ == "__main__":  # worker processes import this file
    main()
