"""Draw the sample: sixty of the structures in experiments/dataset that relax without failing (data/dataset), seed 0.

    python experiments/benchmarks/ladder/sample.py

Written down before any HSE06 gap of them was computed.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from materia.data import Dataset
from materia.resources import resource

HERE = Path(__file__).parent


def main() -> None:
    rows = {}
    for line in (HERE.parents[1] / "dataset" / "structures.jsonl").read_text().splitlines():
        rows[json.loads(line)["id"]] = line
    able = {entry.id for entry in Dataset.load(resource("data/dataset")).computed}
    random.seed(0)
    drawn = random.sample(sorted(able & set(rows)), 60)
    (HERE / "sample.jsonl").write_text("".join(rows[name] + "\n" for name in sorted(drawn)))


if __name__ == "__main__":
    main()
