"""The pool sampler on its own: Optuna's conformance tests, no repeats, pending, orphans, many askers."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase

from materia.errors import PoolExhaustedError, SearchError
from materia.search import PoolSampler, PoolView, SearchSettings, reserving_ask


class TestOptunaConformance(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's tests of independent sampling; those of relative spaces need one, which a pool has not."""

    @pytest.fixture
    def sampler(self) -> Callable[[], optuna.samplers.BaseSampler]:
        return lambda: PoolSampler(1000, seed=1)


def ask(study: optuna.Study, n: int) -> tuple[optuna.Trial, int]:
    trial = study.ask()
    return trial, trial.suggest_int("candidate", 0, n - 1)


@pytest.mark.parametrize("acquisition", ["probability", "ehvi", "random", "greedy", "thompson", "ucb", "spread"])
def test_every_candidate_once_then_a_plain_error(toy, acquisition: str) -> None:
    view = PoolView(toy.n, toy.conditions, toy.beliefs, embedding=toy.embedding)
    sampler = PoolSampler(view, settings=SearchSettings(acquisition=acquisition), exclude=[4])
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * 2)
    seen = []
    for step in range(toy.n - 1):
        trial, index = ask(study, toy.n)
        seen.append(index)
        if step % 3 == 0:
            study.tell(trial, list(toy.conditions.evaluate(toy.values(index)).losses.values()))
        elif step % 3 == 1:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)  # failed ones are not tried again either
    assert sorted(seen) == [i for i in range(toy.n) if i != 4]
    with pytest.raises(PoolExhaustedError, match="no candidate is left"):
        ask(study, toy.n)
    with pytest.raises(PoolExhaustedError):
        reserving_ask(study)


def test_a_pool_of_one_is_not_asked_twice() -> None:
    study = optuna.create_study(sampler=PoolSampler(1))
    assert reserving_ask(study)[1] == 0
    with pytest.raises(PoolExhaustedError):
        ask(study, 1)


def test_ineligible_dear_and_unpredicted_are_left_out(toy) -> None:
    eligible = np.zeros(toy.n, dtype=bool)
    eligible[[3, 5, 8]] = True
    cost = np.full(toy.n, 10.0)
    cost[5] = 1000.0
    mean, std = toy.beliefs.column("gap_pbe")
    columns = {q: toy.beliefs.column(q) for q in toy.beliefs.quantities}
    mean = mean.copy()
    mean[8] = np.nan
    beliefs = type(toy.beliefs)({**columns, "gap_pbe": (mean, std)})
    view = PoolView(toy.n, toy.conditions, beliefs, eligible=eligible, cost=cost)
    study = optuna.create_study(
        sampler=PoolSampler(view, settings=SearchSettings(max_cost_s=100)), directions=["minimize"] * 2
    )
    assert reserving_ask(study)[1] == 3
    with pytest.raises(PoolExhaustedError, match=r"pool 60, eligible 3, predicted 2, affordable 1, free 0"):
        reserving_ask(study)


def test_a_wrong_range_is_refused(toy) -> None:
    study = optuna.create_study(sampler=PoolSampler(10))
    with pytest.raises(SearchError, match="the pool has 10 candidates"):
        study.ask().suggest_int("candidate", 0, 10)


def test_the_pool_may_grow() -> None:
    study = optuna.create_study(sampler=PoolSampler(5))
    first = {reserving_ask(study)[1] for _ in range(5)}
    study.sampler.view = PoolView(8)
    assert first | {reserving_ask(study)[1] for _ in range(3)} == set(range(8))


def test_queued_candidates_count_as_taken() -> None:
    study = optuna.create_study(sampler=PoolSampler(4))
    study.enqueue_trial({"candidate": 2})
    assert reserving_ask(study)[1] == 2
    study.enqueue_trial({"candidate": 0})
    assert not study.sampler.free(study)[0][0]


def test_orphans_give_their_candidate_back() -> None:
    study = optuna.create_study(sampler=PoolSampler(3))
    trials = [reserving_ask(study)[0] for _ in range(3)]
    trials[1].set_user_attr("orphan", True)
    study.tell(trials[1], state=optuna.trial.TrialState.FAIL)
    assert reserving_ask(study)[1] == trials[1].params["candidate"]


def test_the_place_fixes_the_draw_not_the_number_of_asks(toy) -> None:
    def draw(asks_before: int) -> int:
        study = optuna.create_study(sampler=PoolSampler(100_000, seed=3))
        for _ in range(asks_before):
            reserving_ask(study)
        with study.sampler.at(2, 1):
            return reserving_ask(study)[1]

    assert draw(0) == draw(5)
    study = optuna.create_study(sampler=PoolSampler(100_000, seed=4))
    with study.sampler.at(2, 1):
        assert reserving_ask(study)[1] != draw(0)


def test_it_can_be_pickled(toy, tmp_path) -> None:
    sampler = PoolSampler(PoolView(toy.n, toy.conditions, toy.beliefs), seed=3, lock=str(tmp_path / "lock"))
    copy = pickle.loads(pickle.dumps(sampler))
    picks = [reserving_ask(optuna.create_study(sampler=s, directions=["minimize"] * 2))[1] for s in (sampler, copy)]
    assert picks[0] == picks[1]


def test_threads_share_a_study() -> None:
    study = optuna.create_study(sampler=PoolSampler(60))
    study.optimize(lambda t: float(t.suggest_int("candidate", 0, 59)), n_trials=60, n_jobs=4)
    assert sorted(t.params["candidate"] for t in study.trials) == list(range(60))


ASKER = """
import sys, optuna
from materia.search import PoolSampler
from materia.search._storage import _Journal
optuna.logging.set_verbosity(optuna.logging.WARNING)
path, asks = sys.argv[1], int(sys.argv[2])
study = optuna.create_study(
    study_name="many", storage=optuna.storages.JournalStorage(_Journal(path)), load_if_exists=True,
    sampler=PoolSampler(100, seed=5, lock=path + ".ask"),
)
for _ in range(asks):  # plain ask and suggest: the sampler reserves by itself
    trial = study.ask()
    print(trial.suggest_int("candidate", 0, 99))
"""


def test_many_processes_on_one_journal_never_collide(journal: Path) -> None:
    asker = ASKER.replace("_Journal(path)", "_Journal(__import__('pathlib').Path(path))")
    workers = [
        subprocess.Popen([sys.executable, "-c", asker, str(journal), "20"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    picks = [int(line) for worker in workers for line in worker.communicate(timeout=120)[0].split()]
    assert all(worker.returncode == 0 for worker in workers)
    assert len(picks) == 80
    assert max(Counter(picks).values()) == 1  # one seed for all: without the lock they would choose alike
