"""Whole searches on toy pools whose answers are known: what is found against what chance finds."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from materia.search import PoolSampler, PoolView, SearchSettings, reserving_ask

SEEDS = range(12)
BATCH, ROUNDS = 4, 5


def hits_found(toy, acquisition: str, **settings: object) -> int:
    chosen = SearchSettings.model_validate({"acquisition": acquisition, "batch": BATCH, **settings})
    view = PoolView(toy.n, toy.conditions, toy.beliefs, embedding=toy.embedding, groups={"prototype": toy.prototypes})
    sampler = PoolSampler(view, settings=chosen, seed=toy.seed)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * 2)
    found = 0
    for round_ in range(ROUNDS):
        batch = []
        for slot in range(BATCH):
            with sampler.at(round_, slot):
                trial, index = reserving_ask(study)
            trial.set_user_attr("slot", slot)
            trial.set_user_attr("round", round_)
            batch.append((trial, index))
        for trial, index in batch:
            verdict = toy.conditions.evaluate(toy.values(index))
            for name, violation in verdict.violations.items():
                trial.set_constraint(name, violation)
            study.tell(trial, list(verdict.losses.values()))
            found += verdict.hit
    return found


@pytest.fixture(scope="module")
def pools(make_toy):
    return [make_toy(400, seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def by_chance(pools) -> np.ndarray:
    return np.array([hits_found(toy, "random") for toy in pools])


def test_chance_finds_what_it_should(pools, by_chance: np.ndarray) -> None:
    share = np.mean([toy.hits.mean() for toy in pools])
    draws = BATCH * ROUNDS * len(pools)
    assert by_chance.sum() == pytest.approx(share * draws, abs=4 * np.sqrt(share * (1 - share) * draws))


@pytest.mark.parametrize(
    ("acquisition", "factor"),
    [("probability", 3.0), ("ehvi", 2.0), ("thompson", 1.5), ("ucb", 1.5), ("greedy", 1.5)],
)
def test_better_than_chance(pools, by_chance: np.ndarray, acquisition: str, factor: float) -> None:
    """Hits against ``factor`` times those of chance, paired over pools: three standard errors above."""
    found = np.array([hits_found(toy, acquisition) for toy in pools])
    excess = found - factor * max(by_chance.mean(), 0.5)
    assert excess.mean() > 3 * excess.std(ddof=1) / np.sqrt(len(excess)), (found, by_chance)


def test_a_batch_spreads_over_families(make_toy) -> None:
    """Two prototypes hold identical best candidates: a diverse batch takes some of each."""
    toy = make_toy(400, 0)
    view = PoolView(toy.n, toy.conditions, toy.beliefs, embedding=toy.embedding, groups={"prototype": toy.prototypes})

    def families(diversity: float) -> float:
        counts = []
        for seed in range(4):
            settings = SearchSettings(diversity=diversity, batch=8, exploration=0.0)
            sampler = PoolSampler(view, settings=settings, seed=seed)
            study = optuna.create_study(sampler=sampler, directions=["minimize"] * 2)
            counts.append(len({toy.prototypes[reserving_ask(study)[1]] for _ in range(8)}))
        return float(np.mean(counts))

    assert families(0.8) > families(0.0)
