"""Draw the samples; each was written down before any HSE06 gap of its structures was computed.

    python experiments/benchmarks/ladder/sample.py

First: sixty of the structures in experiments/dataset that relax without failing (data/dataset), seed 0. Second: sixty
of the candidates of experiments/complete_pool.yaml that data/dataset did not hold when half of the pool was computed
(``frame.jsonl``), without the formulas of the first sample, seed 1; whether they relax was not known of most. Third:
sixty of all that data/dataset held then, computed and without an HSE06 gap (``third_frame.json``, 220 ids), without the
formulas of the other two, seed 2.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from materia.crystal import Crystal
from materia.data import Dataset, Entry
from materia.resources import resource

HERE = Path(__file__).parent
SIZE = 60


def read(path: Path) -> dict[str, str]:
    """id -> line."""
    return {json.loads(line)["id"]: line for line in path.read_text().splitlines()}


def formula(line: str) -> str:
    return Crystal.from_record(json.loads(line)["structure"]).formula


def draw(rows: dict[str, str], able: set[str], seed: int) -> str:
    random.seed(seed)
    return "".join(rows[name] + "\n" for name in sorted(random.sample(sorted(able), SIZE)))


def main() -> None:
    rows = read(HERE.parents[1] / "dataset" / "structures.jsonl")
    able = {entry.id for entry in Dataset.load(resource("data/dataset")).computed}
    first = HERE / "first.jsonl"
    if not first.exists():  # the dataset has grown since it was drawn
        first.write_text(draw(rows, able & set(rows), 0))
    seen = {formula(line) for line in read(first).values()}
    frame = read(HERE / "frame.jsonl")
    (HERE / "second.jsonl").write_text(draw(frame, {i for i, line in frame.items() if formula(line) not in seen}, 1))
    entries = {entry.id: entry for entry in Dataset.load(resource("data/dataset"))}
    rows = {name: _line(entries[name]) for name in json.loads((HERE / "third_frame.json").read_text())}
    (HERE / "third.jsonl").write_text(draw(rows, set(rows), 2))


def _line(entry: Entry) -> str:
    row = {"id": entry.id, "prototype": entry.prototype, "structure": entry.initial.to_record()}
    return json.dumps(row)


if __name__ == "__main__":
    main()
