"""A toy pool whose answers are known, and a search over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pytest

from materia.search import Beliefs, Conditions, Constraint, Decider, Objective, SearchSettings

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass
class Toy:
    """A pool of n candidates on a line of structures, with true values and a surrogate that is off by its std."""

    n: int
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, self.n])
        self.embedding = rng.uniform(0, 10, (self.n, 2))
        x, y = self.embedding.T
        self.truth = {
            "gap_pbe": np.maximum(2.5 + 2.0 * np.sin(x) + rng.normal(0, 0.2, self.n), 0.0),
            "energy_above_hull": 0.15 * (1 + np.cos(0.8 * y)) + rng.normal(0, 0.03, self.n),
            "supply_risk": rng.uniform(0, 1, self.n),
        }
        off = {"gap_pbe": 0.5, "energy_above_hull": 0.08, "supply_risk": 0.0}
        self.beliefs = Beliefs(
            {q: (v + off[q] * rng.standard_normal(self.n), np.full(self.n, off[q])) for q, v in self.truth.items()}
        )
        self.conditions = Conditions(
            [
                Objective(quantity="gap_pbe", window=(0.7, 1.3)),
                Objective(quantity="energy_above_hull", goal="minimize"),
            ],
            [
                Constraint(quantity="energy_above_hull", below=0.1),
                Constraint(quantity="supply_risk", below=0.5),
            ],
        )
        self.prototypes = [f"prototype{int(v)}" for v in x]
        self.ids = [f"candidate{i}" for i in range(self.n)]

    def values(self, index: int) -> dict[str, float]:
        return {q: float(v[index]) for q, v in self.truth.items()}

    @property
    def hits(self) -> np.ndarray:
        return np.array([self.conditions.evaluate(self.values(i)).hit for i in range(self.n)])

    def decider(self, path: Path, *, seed: int = 7, **settings: object) -> Decider:
        return Decider(
            path,
            "toy",
            self.conditions,
            SearchSettings.model_validate(settings),
            ids=self.ids,
            seed=seed,
            groups={"prototype": self.prototypes},
        )


@pytest.fixture
def toy() -> Toy:
    return Toy(60)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "optuna.journal"


@pytest.fixture(scope="session")
def make_toy() -> type[Toy]:
    return Toy
