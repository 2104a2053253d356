"""A campaign whose every answer is there already: the real driver, with no calculation and no training.

The results of all jobs lie in a store (``compute.stores``), the models of all rounds in ``models/``; what is left is
the loop itself, in well under a second a step. The numbers are made up and plausible, no more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from materia.campaign import Step, load_settings
from materia.campaign._loop import Driver, open_driver
from materia.crystal import Crystal
from materia.record import CampaignRecord, load_campaign
from materia.simulation import engine, level, make_job
from materia.space import Pool, generate

CONTENT: dict[str, Any] = {
    "version": 1,
    "name": "instant",
    "seed": 3,
    "data": "shipped",
    "space": {
        "elements": ["Mg", "Ca", "Zn", "Al", "Ga", "In", "P", "As", "Sb", "S", "Se", "Te"],
        "exclude": [],
        "prototypes": ["zincblende", "rocksalt"],
        "arity": [2],
        "max_atoms": 2,
    },
    "objectives": [
        {"quantity": "gap_pbe", "window": [0.8, 2.0]},
        {"quantity": "supply_risk", "goal": "minimize"},
    ],
    "surrogate": {"members": 2},
    "search": {"rounds": 2, "batch": 3, "exploration": 0.34},
    "ladder": {"level": "rough", "recipes": ["relax", "gap"]},
    "tracking": {"enabled": False},
}


@dataclass(frozen=True)
class Instant:
    """How to drive it.

    Attributes:
        file: its campaign file.
        folder: where it runs.
        gaps: candidate id -> what the calculation will give (eV).
    """

    file: Path
    folder: Path
    gaps: dict[str, float]

    def steps(self, n: int) -> list[Step]:
        """So many steps of one driver."""
        with open_driver(self.file, self.folder) as driver:
            return [driver.step() for _ in range(n)]

    def until(self, wanted: str) -> Step:
        """Steps of one driver until its message holds these words."""
        with open_driver(self.file, self.folder) as driver:
            return self._until(driver, wanted)

    def finish(self) -> CampaignRecord:
        self.until("finished")
        return self.record

    @property
    def record(self) -> CampaignRecord:
        return load_campaign(self.folder)

    @property
    def pool(self) -> Pool:
        return Pool.load(self.folder / "pool")

    @staticmethod
    def _until(driver: Driver, wanted: str) -> Step:
        for _ in range(60):
            done = driver.step()
            if wanted in done.message:
                return done
        raise AssertionError(f"no step said {wanted!r}; the last said {done.message!r}")


def instant(
    folder: Path,
    *,
    missing: tuple[str, ...] = (),
    hse06: Callable[[str, float], float] | None = None,
    energy: Callable[[str], float] = lambda name: -3.0,
    **changes: Any,
) -> Instant:
    """An instant campaign.

    Args:
        folder: where everything goes.
        missing: candidates whose results are not in the store: their jobs are really started.
        energy: candidate id -> what ``relax`` gives (eV/atom).
        hse06: candidate id, its PBE gap -> what the recipe ``hybrid`` gives (eV), for ladders that have it.
        changes: sections of the campaign file, merged into :data:`CONTENT`.
    """
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    content = {**CONTENT, "compute": {"stores": [str(folder / "store")], "cores": 1}}
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "instant.yaml"
    file.write_text(yaml.safe_dump(content))
    pool = generate(load_settings(file).space)
    rng = np.random.default_rng(5)
    gaps = {name: round(float(rng.uniform(0.0, 3.0)), 3) for name in pool.ids}
    for i, name in enumerate(pool.ids):
        if name not in missing:
            dear = {} if hse06 is None else {"hybrid": {"gap_hse06_on_pbe": hse06(name, gaps[name])}}
            values = {
                "relax": {"energy_per_atom": energy(name), "prototype_kept": True},
                "gap": {"gap_pbe": gaps[name]},
                **dear,
            }
            for recipe, found in values.items():
                put_result(folder / "store", recipe, pool.crystal(i), content["ladder"]["level"], found)
    for number in range(6):
        _model(folder / "run" / "models" / str(number), pool, gaps, number)
    return Instant(file, folder / "run", gaps)


def killed(stride: int, work: str, *arguments: object) -> int:
    """Do the work, killed before every ``stride``-th new line of its files, until one gets through; how many died.

    Args:
        work: as in ``campaign/killed_at_new_lines.py``.
    """
    script = Path(__file__).parent / "campaign" / "killed_at_new_lines.py"
    argv = [sys.executable, str(script), str(stride), work, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


def put_result(
    store: Path, recipe: str, crystal: Crystal, level_name: str, values: Mapping[str, Any], *, reason: str = ""
) -> None:
    """A finished job in a store; with a reason, one that failed for it."""
    key = make_job(recipe, crystal, level(level_name)).key
    attempt = store / "jobs" / key / "1"
    attempt.mkdir(parents=True)
    result: dict[str, Any] = {"version": 1, "key": key, "attempt": 1, "status": "completed", "values": dict(values)}
    if reason:
        result |= {"status": "failed", "reason": reason, "message": "", "retryable": False, "values": {}}
    (attempt / "result.json").write_text(json.dumps(result))


def _model(folder: Path, pool: Pool, gaps: dict[str, float], number: int) -> None:
    """What a round's surrogate left: the truth with an error that shrinks by the round."""
    rng = np.random.default_rng(100 + number)
    n, error = len(pool), 0.6 / (1 + number)
    truth = np.array([gaps[name] for name in pool.ids])
    mean = np.maximum(truth + rng.normal(0, error, n), 0.0)[:, None]
    embedding = np.stack([truth, rng.normal(size=n), rng.normal(size=n)], axis=1).astype(np.float32)
    folder.mkdir(parents=True)
    rows = [{"id": f"dataset/{k}", "formula": f"X{k}", "values": {"gap_pbe": 0.1 * k}} for k in range(8)]
    card = {"targets": ["gap_pbe"], "n_train": 8, "validation": {"gap_pbe": {"mae": error}}}
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "labelled.json").write_text(json.dumps(rows))
    np.savez(
        folder / "predictions.npz",
        mean=mean,
        std=np.full((n, 1), error),
        embedding=embedding,
        labelled=rng.normal(size=(8, 3)).astype(np.float32),
    )
