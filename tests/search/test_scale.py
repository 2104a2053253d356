"""What makes an ask cheap must not change what is chosen; and picks do not depend on the processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

from materia.search import (
    Beliefs,
    Conditions,
    Constraint,
    Objective,
    PoolSampler,
    PoolView,
    reserving_ask,
)
from materia.search._improvement import expected_improvement, improvement_where_it_matters
from materia.search._pareto import front
from materia.search._past import Past

BIG = 20_000  # above the size from which bounds are used


def big_view(seed: int = 0) -> PoolView:
    rng = np.random.default_rng(seed)
    beliefs = Beliefs(
        {
            "gap_pbe": (np.maximum(rng.normal(1.5, 1.5, BIG), 0.0), rng.uniform(0.1, 0.8, BIG)),
            "energy_above_hull": (rng.normal(0.15, 0.15, BIG), rng.uniform(0.03, 0.12, BIG)),
        }
    )
    conditions = Conditions(
        [Objective(quantity="gap_pbe", window=(0.6, 1.2)), Objective(quantity="energy_above_hull", goal="minimize")],
        [Constraint(quantity="energy_above_hull", below=0.1)],
    )
    embedding = rng.standard_normal((BIG, 24)).astype(np.float32)
    return PoolView(
        BIG, conditions, beliefs, embedding=embedding, groups={"prototype": (rng.integers(0, 9, BIG)).tolist()}
    )


@pytest.mark.parametrize("k", [0, 3, 40])
def test_a_bound_never_hides_the_best(k: int) -> None:
    view, rng = big_view(k), np.random.default_rng(k)
    assert view.conditions is not None and view.beliefs is not None
    objectives = view.conditions.objectives
    columns = [view.beliefs.column(o.quantity) for o in objectives]
    across = rng.uniform(0, 1, k)
    points = np.column_stack([across, 0.15 * (1 - across) + 0.01 * rng.random(k)]).reshape(k, 2)
    reference = np.array([2.0, 0.3])
    rest = rng.uniform(-2, 2, BIG)
    rest[rng.random(BIG) < 0.1] = -np.inf
    exact = expected_improvement(objectives, columns, points, reference)
    found = improvement_where_it_matters(objectives, columns, points, reference, rest)
    assert (found >= exact * (1 - 1e-9) - 1e-15).all()
    with np.errstate(divide="ignore"):
        true, bounded = np.log(exact) + rest, np.log(found) + rest
    assert int(np.argmax(true)) == int(np.argmax(bounded))
    best = int(np.argmax(true))
    assert found[best] == pytest.approx(exact[best], rel=1e-12)
    assert (found > exact * (1 + 1e-9)).mean() > 0.5  # most were spared the closed form


def test_the_front_of_many_points() -> None:
    rng = np.random.default_rng(0)
    losses = np.round(rng.random((400, 3)), 1)  # with doubles and ties
    kept = {tuple(row) for row in front(losses)}
    by_hand = {
        tuple(row) for row in losses if not any((other <= row).all() and (other < row).any() for other in losses)
    }
    assert kept == by_hand
    assert front(np.empty((0, 2))).shape == (0, 2)


def test_what_is_remembered_is_what_the_trials_say(toy) -> None:
    """Asks, results, failures, orphans and queued trials in random order: the memory equals a fresh look."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(sampler=PoolSampler(1000, seed=1), directions=["minimize"] * 2)
    memory, running = Past(study, "candidate"), []
    for step in range(60):
        what = rng.integers(0, 6)
        if what <= 2 or not running:
            trial, _ = reserving_ask(study)
            trial.set_user_attr("round", step // 10)
            trial.set_user_attr("slot", int(rng.integers(0, 10)))
            running.append(trial)
        elif what == 3:
            trial = running.pop(int(rng.integers(len(running))))
            trial.set_constraint("bound", float(rng.normal()))
            study.tell(trial, rng.random(2).tolist())
        elif what == 4:
            trial = running.pop(0)
            trial.set_user_attr("orphan", True)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.enqueue_trial({"candidate": int(rng.integers(0, 1000))}, skip_if_exists=True)
        memory.read(study)
        fresh = Past(study, "candidate")
        fresh.read(study)
        assert sorted(memory.rows()) == sorted(fresh.rows())
        for place in ((None, 0), (step // 10, 5)):
            assert sorted(memory.pending(*place)) == sorted(fresh.pending(*place))
        assert sorted(memory.observed(step // 10, 2).tolist()) == sorted(fresh.observed(step // 10, 2).tolist())
    assert len(memory.observed(None, 2))


def test_another_study_is_read_anew() -> None:
    sampler = PoolSampler(3, seed=1)
    for _ in range(2):
        study = optuna.create_study(sampler=sampler)
        assert {reserving_ask(study)[1] for _ in range(3)} == {0, 1, 2}


def test_discounts_kept_from_slot_to_slot_are_those_made_at_once() -> None:
    kept, fresh = big_view(), big_view()
    for k in range(1, 6):
        step_by_step = kept.novelty(tuple(range(k)), 0.5)
    assert np.allclose(step_by_step, fresh.novelty(tuple(range(5)), 0.5), rtol=1e-12, atol=0)
    assert np.allclose(kept.novelty((7,), 0.5), big_view().novelty((7,), 0.5), rtol=1e-12, atol=0)
    assert kept.similarity(7)[7] == pytest.approx(1.0)
    by_hand = np.prod([1 - 0.5 * fresh.similarity(i) for i in range(5)], axis=0)
    assert np.allclose(step_by_step, by_hand, rtol=1e-12, atol=0)
    assert not np.array_equal(kept.novelty((7,), 0.9), kept.novelty((7,), 0.5))


def test_a_new_round_of_predictions_is_not_answered_from_the_last() -> None:
    first, second = big_view(1), big_view(2)
    assert first.conditions is not None
    a, b = (first.conditions.log_probability(v.beliefs) for v in (first, second) if v.beliefs is not None)
    assert not np.array_equal(a, b)


PICKER = """
import sys
import numpy as np, optuna
from materia.search import *
from materia.search._view import PoolView
optuna.logging.set_verbosity(optuna.logging.ERROR)
data = np.load(sys.argv[1])
conditions = Conditions(
    [Objective(quantity="gap_pbe", window=(0.6, 1.2)), Objective(quantity="energy_above_hull", goal="minimize")],
    [Constraint(quantity="energy_above_hull", below=0.1)],
)
n = len(data["embedding"])
beliefs = Beliefs({q: (data[q][0], data[q][1]) for q in ("gap_pbe", "energy_above_hull")})
view = PoolView(n, conditions, beliefs, embedding=data["embedding"], formulas=["GaAs", "SiO2"] * (n // 2))
for name in ("probability", "ehvi", "ucb", "thompson", "greedy", "spread", "random", "chemist"):
    sampler = PoolSampler(view, settings=SearchSettings(acquisition=name), seed=3)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * 2)
    picks = []
    for slot in range(12):
        with sampler.at(0, slot):
            trial, index = reserving_ask(study)
        trial.set_user_attr("round", 0)
        trial.set_user_attr("slot", slot)
        picks.append(index)
    print(name, picks)
"""


# names of dispatched instruction sets before and since NumPy 2.4; those it does not know it passes over
OTHER_PROCESSOR = "AVX2 FMA3 AVX512F AVX512_SKX AVX512_ICL AVX512_SPR X86_V3 X86_V4"


def test_same_predictions_and_seed_same_picks_on_any_processor(tmp_path: Path) -> None:
    """NumPy's exponentials differ in the last bit between instruction sets; picks must not. Half of the candidates
    are doubles, so that the best of them are separated by rounding alone."""
    view = big_view(5)
    assert view.beliefs is not None and view.embedding is not None
    columns = {q: np.stack(view.beliefs.column(q)) for q in view.beliefs.quantities}
    doubled = {q: np.concatenate([c[:, : BIG // 2]] * 2, axis=1) for q, c in columns.items()}
    file = tmp_path / "predictions.npz"
    np.savez(file, embedding=np.concatenate([view.embedding[: BIG // 2]] * 2), **doubled)
    plain = {k: v for k, v in os.environ.items() if k != "NPY_DISABLE_CPU_FEATURES"}
    answers = []
    for off in ("", OTHER_PROCESSOR):
        env = plain | ({"NPY_DISABLE_CPU_FEATURES": off} if off else {})
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PICKER, str(file)],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(done.stdout)
    assert answers[0].count("\n") == 8
    assert answers[0] == answers[1]
