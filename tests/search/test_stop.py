"""Stopping: the bound on what is left against draws and truth, rules by hand, and what a replay says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from materia.search import (
    Beliefs,
    Conditions,
    Constraint,
    Objective,
    PoolView,
    Remaining,
    SearchSettings,
    StopSettings,
    enough,
    finished,
    remaining,
)
from materia.search._recalibration import Recalibration
from materia.search._remaining import Effort
from materia.search._room import Room, room_left
from materia.search.replay import KnownPool, ReplaySettings, Trajectory, play, play_all, stopping, summarise
from materia.search.replay._run import OF_LEARNERS, run_key
from materia.search.replay._stopping import bounds, oracle_step

WINDOW = Conditions([Objective(quantity="gap_pbe", window=(1.0, 2.0))])
SEARCH = SearchSettings()


def with_chances(chances: np.ndarray, cost: np.ndarray | None = None) -> PoolView:
    """A view whose candidates meet the window with these probabilities."""
    from scipy.stats import norm

    mean = 2.0 - 0.01 * norm.ppf(np.clip(chances, 1e-12, 1 - 1e-12))  # the lower edge is 100 standard deviations away
    return PoolView(len(chances), WINDOW, Beliefs({"gap_pbe": (mean, np.full(len(chances), 0.01))}), cost=cost)


def left(**changes: object) -> Remaining:
    given = {"unknown": 100, "found": 20, "believed": 4.0, "expected": 4.0, "spread": 0.0, "high": 8}
    given |= {"offset": 0.0, "slope": 1.0, "next_hit": Effort(7, 3600.0)}
    return Remaining(**{**given, **changes})  # type: ignore[arg-type]


def test_what_is_left_by_hand() -> None:
    chances = np.array([0.9, 0.5, 0.4, 0.1, 0.05, 0.8])
    free = np.array([True] * 5 + [False])
    found = remaining(with_chances(chances, np.full(6, 60.0)), SEARCH, free, [], 3)
    assert found is not None
    assert (found.unknown, found.found) == (5, 3)
    assert found.believed == pytest.approx(1.95, abs=1e-3)
    assert found.expected == pytest.approx(
        1.95, abs=1e-3
    )  # nothing has been picked: predictions are taken at their word
    assert found.next_hit == Effort(2, 120.0)  # 0.9 + 0.5
    assert found.most == Effort(4, 240.0)  # 1.9 of 1.95
    assert Remaining.from_json(found.to_json()) == found


def test_cheap_candidates_come_first_where_the_search_has_it_so() -> None:
    view = with_chances(np.array([0.9, 0.8, 0.8]), np.array([1000.0, 10.0, 10.0]))
    free = np.ones(3, dtype=bool)
    by_cost = remaining(view, SearchSettings(cost_power=1), free, [], 0)
    by_chance = remaining(view, SearchSettings(cost_power=0), free, [], 0)
    assert by_cost is not None
    assert by_chance is not None
    assert by_cost.next_hit == Effort(2, 20.0)
    assert by_chance.next_hit == Effort(2, 1010.0)


def test_less_than_one_hit_has_no_price_and_nothing_left_is_nothing() -> None:
    few = remaining(with_chances(np.array([0.3, 0.2])), SEARCH, np.ones(2, dtype=bool), [], 0)
    assert few is not None
    assert few.next_hit is None
    assert few.most == Effort(2, None)
    none = remaining(with_chances(np.array([0.3, 0.2])), SEARCH, np.zeros(2, dtype=bool), [], 5)
    assert none is not None
    assert (none.unknown, none.expected, none.high, none.most) == (0, 0.0, 0, None)
    assert remaining(PoolView(2), SEARCH, np.ones(2, dtype=bool), [], 0) is None


def drawn(chances: np.ndarray, offset: float, slope: float, rng: np.random.Generator) -> list[tuple[float, bool]]:
    """Picks that are hits by chances whose log odds are on a line over the predicted ones."""
    truth = 1 / (1 + np.exp(-offset - slope * np.log(chances / (1 - chances))))
    return [(float(p), bool(hit)) for p, hit in zip(chances, rng.random(len(chances)) < truth, strict=True)]


@pytest.mark.parametrize(("offset", "slope"), [(0.0, 1.0), (-0.7, 1.0), (0.0, 0.6), (0.5, 1.3)])
def test_the_line_is_found_again(offset: float, slope: float) -> None:
    rng = np.random.default_rng(0)
    rounds = [drawn(rng.uniform(0.02, 0.95, 1000), offset, slope, rng) for _ in range(5)]
    found = Recalibration.of(rounds)
    for value, true, variance in zip(
        (found.offset, found.slope), (offset, slope), np.diag(found.covariance), strict=True
    ):
        assert abs(value - true) < 4 * np.sqrt(variance)
        assert variance < 0.05**2
    chances = np.array([0.01, 0.3, 0.9])
    expected = 1 / (1 + np.exp(-offset - slope * np.log(chances / (1 - chances))))
    np.testing.assert_allclose(found.corrected(chances)[0], expected, rtol=0.15)


def test_what_is_impossible_stays_so_and_the_spread_is_that_of_the_line() -> None:
    line = Recalibration(-0.5, 0.8, np.array([[0.04, 0.01], [0.01, 0.02]]))
    assert line.corrected(np.zeros(3))[0].tolist() == [0.0, 0.0, 0.0]
    assert Recalibration.of([]).corrected(np.array([1e-9]))[0][0] == pytest.approx(1e-9, rel=1e-3)
    chances = np.array([0.001, 0.02, 0.3, 0.6])
    _, spread = line.corrected(chances)
    rng = np.random.default_rng(0)
    lines = rng.multivariate_normal([-0.5, 0.8], line.covariance, 20_000)
    odds = np.log(chances / (1 - chances))
    sums = (1 / (1 + np.exp(-lines[:, :1] - lines[:, 1:] * odds))).sum(axis=1)
    assert spread == pytest.approx(np.log(sums).std(), rel=0.1)


def test_picks_that_disappoint_lower_what_is_expected_and_old_ones_fade() -> None:
    fine, poor = [(0.5, k % 2 == 0) for k in range(20)], [(0.5, k % 10 == 0) for k in range(20)]
    view, free = with_chances(np.full(100, 0.5)), np.ones(100, dtype=bool)

    def expected(*rounds: list[tuple[float, bool]]) -> float:
        found = remaining(view, SEARCH, free, rounds, 0)
        assert found is not None
        assert found.believed == pytest.approx(50, abs=0.01)
        return found.expected

    assert expected(*[fine] * 10) == pytest.approx(50, abs=2)
    assert expected(*[poor] * 10) == pytest.approx(10, abs=3)
    assert expected(*[poor] * 10, *[fine] * 15) == pytest.approx(50, abs=4)
    assert expected(poor) > expected(poor, poor) > expected(*[poor] * 5)


@pytest.mark.parametrize(("offset", "slope"), [(0.0, 1.0), (-0.8, 1.0), (0.3, 0.8), (-0.3, 1.3)])
def test_the_bound_holds_as_often_as_it_says(offset: float, slope: float) -> None:
    """Predictions that are off by what nobody knows: the truth keeps to the bound (95 %, less what is approximate)."""
    rng = np.random.default_rng(int(10 * slope))
    held = 0
    for _ in range(300):
        chances = np.clip(rng.beta(0.4, 4.0, 300), 1e-5, 0.99)
        truth = rng.random(300) < 1 / (1 + np.exp(-offset - slope * np.log(chances / (1 - chances))))
        order = np.argsort(-chances)
        rounds = [[(float(chances[i]), bool(truth[i])) for i in order[10 * k : 10 * k + 10]] for k in range(8)]
        free = np.ones(300, dtype=bool)
        free[order[:80]] = False
        found = remaining(with_chances(chances), SEARCH, free, rounds, int(truth[order[:80]].sum()))
        assert found is not None
        held += int(truth[free].sum()) <= found.high
    assert held >= 0.92 * 300


def test_the_bound_of_known_chances_is_that_of_a_sum_of_draws() -> None:
    """With the correction known: against simulation. Poisson is wider than Poisson binomial, never narrower."""
    rng = np.random.default_rng(0)
    chances = rng.uniform(0, 0.3, 60)
    sums = (rng.random((20_000, 60)) < chances).sum(axis=1)
    bound = left(expected=float(chances.sum()), unknown=60)
    assert np.mean(sums <= bound.at_most(0.95)) >= 0.95
    assert bound.at_most(0.95) <= np.quantile(sums, 0.95) + 2
    assert bound.at_most(0.5) == pytest.approx(np.median(sums), abs=1)
    assert left(expected=50.0, unknown=10).at_most(0.95) == 10
    assert left(spread=1.0).at_most(0.95) > left(spread=0.5).at_most(0.95) > left().at_most(0.95)


@pytest.mark.parametrize(
    ("rules", "given", "words"),
    [
        ({"remaining_hits": 5, "certainty": 0.5}, {}, "no more than 4 hits are left"),
        ({"remaining_hits": 3, "certainty": 0.5}, {}, ""),
        ({"remaining_hits": 5, "certainty": 0.95}, {}, ""),
        ({"remaining_share": 0.2, "certainty": 0.5}, {}, "4 hits are left beside 20 found"),
        ({"remaining_share": 0.1, "certainty": 0.5}, {}, ""),
        ({"remaining_share": 0.1}, {"expected": 0.0}, "no more than 0 hits"),
        ({"calculations_per_hit": 6}, {}, "cost 7 calculations"),
        ({"calculations_per_hit": 7}, {}, ""),
        ({"calculations_per_hit": 70}, {"next_hit": None, "expected": 0.8}, "no more than 0.80 hits are expected"),
        ({"cpu_hours_per_hit": 0.9}, {}, "cost 1 CPU hours"),
        ({"cpu_hours_per_hit": 1.1}, {}, ""),
        ({"hypervolume_share": 0.05}, {"room": Room(0.01, 0.06, 0.04)}, "no more than 4.0% of the hypervolume"),
        ({"hypervolume_share": 0.03}, {"room": Room(0.01, 0.06, 0.04)}, ""),
        ({"hypervolume_share": 0.03}, {}, ""),
    ],
)
def test_rules_by_hand(rules: dict[str, float], given: dict[str, object], words: str) -> None:
    said = enough(StopSettings.model_validate(rules), left(**given))
    assert words in said
    assert bool(said) == bool(words)


def test_rules_wait_for_their_rounds_and_rounds_end_everything() -> None:
    search = SearchSettings(rounds=5, stop=StopSettings(remaining_hits=50, not_before=3))
    assert [bool(finished(search, n, left())) for n in range(6)] == [False, False, False, True, True, True]
    assert finished(search, 4) == ""  # nobody said what is left
    assert finished(SearchSettings(rounds=5), 4, left(expected=0.0)) == ""
    assert finished(search, 5) == "all 5 rounds are closed"


def test_rules_that_cannot_hold_are_refused() -> None:
    goal, window = Objective(quantity="supply_risk", goal="minimize"), Objective(quantity="gap_pbe", window=(1, 2))
    with pytest.raises(ValueError, match="holds no rule"):
        StopSettings(certainty=0.9)
    with pytest.raises(ValueError, match="nothing makes one"):
        StopSettings(remaining_share=0.1).check([goal], [])
    with pytest.raises(ValueError, match="needs an objective with a goal"):
        StopSettings(hypervolume_share=0.1).check([window], [])
    StopSettings(remaining_share=0.1, hypervolume_share=0.1).check(
        [goal], [Constraint(quantity="supply_risk", below=0.5)]
    )


def test_the_room_of_one_goal_is_the_expected_best() -> None:
    """One goal, one constraint: the gain is that of the least value below the bound, which draws can tell."""
    conditions = Conditions(
        [Objective(quantity="energy_above_hull", goal="minimize")],
        [Constraint(quantity="energy_above_hull", below=0.1)],
    )
    mean, std = np.array([0.05, 0.08, 0.3]), np.array([0.02, 0.03, 0.01])
    rows, observed = np.arange(3), np.array([[0.06]])
    found = room_left(
        conditions, Beliefs({"energy_above_hull": (mean, std)}), rows, observed, (1.0, 0.0), (0.95, 0.5), (0,)
    )
    assert found is not None
    rng = np.random.default_rng(1)
    best = np.minimum((mean + std * rng.standard_normal((20_000, 3))).min(axis=1), 0.06)
    gains = 1 - 0.04 / (0.1 - best)
    assert found.expected == pytest.approx(gains.mean(), abs=4 * gains.std() / 8)
    assert found.certain <= found.high <= 1
    doubted = room_left(
        conditions, Beliefs({"energy_above_hull": (mean, std)}), rows, observed, (0.05, 0.01), (0.95, 0.5), (0,)
    )
    assert doubted is not None
    assert doubted.expected < 0.4 * found.expected
    window = room_left(WINDOW, Beliefs({"gap_pbe": (mean, std)}), rows, observed, (1.0, 0.0), (0.95, 0.5), (0,))
    assert window is None


def run_of(order: list[int], hits: np.ndarray, told: list[tuple[int, float]]) -> Trajectory:
    """A run that was told, at so many labels, that so many hits are believed to be left."""
    rounds = [
        {
            "n": n,
            "remaining": left(
                found=int(hits[order[:n]].sum()), expected=b, high=left(expected=b).at_most(0.95)
            ).to_json(),
        }
        for n, b in told
    ]
    return Trajectory("x", 0, tuple(order), tuple(rounds))


def test_stop_and_oracle_by_hand() -> None:
    hits = np.zeros(100, dtype=bool)
    hits[:20] = True
    order = [*range(10), *range(50, 60), *range(10, 19), *range(60, 80), 19]  # 19 of 20 hits after 29, all after 50
    assert oracle_step(run_of(order, hits, []), hits) == 29
    assert oracle_step(run_of(order[:28], hits, []), hits) is None
    rules = StopSettings(remaining_hits=1, certainty=0.5, not_before=1)
    run = run_of(order, hits, [(10, 0.5), (20, 9.0), (30, 1.4), (40, 1.0)])
    found = stopping([run], hits, rules)
    assert found["runs"] == [{"seed": 0, "stopped": True, "step": 30, "oracle": 29, "lost": 0.05}]
    assert found["distance"]["value"] == pytest.approx(1 / 29, abs=1e-4)
    assert (found["near"], found["kept"], found["both"]) == (1.0, 1.0, 1.0)
    early = stopping([run], hits, StopSettings(remaining_hits=10, certainty=0.5, not_before=1))
    assert early["runs"][0]["step"] == 20
    assert early["lost"]["value"] == 0.5
    assert early["off"]["value"] == pytest.approx(9 / 29, abs=1e-4)
    assert (early["near"], early["kept"], early["both"]) == (0.0, 0.0, 0.0)
    never = stopping([run], hits, StopSettings(calculations_per_hit=1000))
    assert (never["stopped"], never["runs"][0]["step"]) == (0, 50)
    told = bounds([run], hits)
    assert told is not None
    assert told["truth"] == [10, 10, 1, 1]
    assert told["held"] == 0.75  # at 10 labels half a hit was believed to be left, and ten were


@pytest.fixture(scope="module")
def toy() -> tuple[KnownPool, ReplaySettings]:
    """A pool of 240 salts whose gap follows from their ions."""
    from materia.crystal import Crystal

    rng = np.random.default_rng(3)
    cations, anions = ("Li", "Na", "K", "Mg", "Ca", "Zn", "Cd", "Al", "Ga", "In"), ("S", "Se", "Te", "O", "N", "P")
    crystals, gaps = [], []
    for _ in range(240):
        c, a, stretch = int(rng.integers(10)), int(rng.integers(6)), float(rng.uniform(0.9, 1.3))
        lattice = np.diag([5.5, 5.5, 5.5 * stretch])
        crystals.append(
            Crystal.from_species(
                lattice,
                [cations[c], cations[c], anions[a], anions[a]],
                [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
            )
        )
        gaps.append(max(0.0, 0.7 * a + 0.15 * c - 0.3 + float(rng.normal(0, 0.1))))
    pool = KnownPool(
        tuple(f"s{k}" for k in range(240)), tuple(crystals), ("x",) * 240, np.full(240, 1), {"gap_pbe": np.array(gaps)}
    )
    settings = ReplaySettings.model_validate(
        {
            "version": 1,
            "name": "toy",
            "data": {"dataset": "none"},
            "objectives": [{"quantity": "gap_pbe", "window": [1.0, 1.8]}],
            "start": 24,
            "batch": 6,
            "seeds": 3,
            "strategies": [
                {"name": "rule", "search": {"exploration": 0, "diversity": 0, "stop": {"remaining_share": 0.05}}},
                {"name": "plain", "search": {"exploration": 0, "diversity": 0}},
            ],
        }
    )
    return pool, settings


def test_a_run_goes_on_until_the_rule_and_the_oracle_have_spoken(toy: tuple[KnownPool, ReplaySettings]) -> None:
    pool, settings = toy
    rule, plain = (play(pool, settings, s, 0) for s in settings.strategies)
    hits = pool.hits(Conditions(settings.objectives))
    assert rule.order[: len(plain.order)] == plain.order  # a stop rule changes no pick
    assert plain.stopped is None
    assert hits[list(plain.order)].sum() < 0.95 * hits.sum()
    assert rule.stopped is not None
    assert "remaining_share" in rule.why
    assert hits[list(rule.order)].sum() >= 0.95 * hits.sum()
    assert len(rule.order) <= max(rule.stopped, oracle_step(rule, hits) or 0) + 6
    assert Trajectory.from_json(rule.to_json()) == rule


def test_a_replay_says_when_it_would_have_stopped(toy: tuple[KnownPool, ReplaySettings], tmp_path: Path) -> None:
    pool, settings = toy
    runs = play_all(pool, settings, cache=tmp_path, jobs=1)
    found = summarise(pool, settings, runs)["strategies"]
    assert "stop" not in found["plain"]
    stop = found["rule"]["stop"]
    assert [r["step"] for r in stop["runs"]] == [r.stopped for r in runs[:3]]
    assert stop["seen"] == stop["stopped"] == 3
    assert abs(stop["distance"]["value"]) < 0.4
    assert stop["lost"]["value"] < 0.1
    assert found["rule"]["remaining"]["held"] > 0.9
    again = play_all(pool, settings, cache=tmp_path, jobs=1)
    assert again == runs


def test_runs_without_rules_keep_their_keys(toy: tuple[KnownPool, ReplaySettings]) -> None:
    """What was kept before there were stop rules is still found: the key is one of that version."""
    pool, settings = toy
    assert run_key(pool, settings, settings.strategies[1], 0) == "4c5992346e17589f7011f3ca"
    assert run_key(pool, settings, settings.strategies[0], 0) != run_key(pool, settings, settings.strategies[1], 0)


def test_runs_of_a_learner_that_has_changed_are_made_anew(
    toy: tuple[KnownPool, ReplaySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, settings = toy
    before = [run_key(pool, settings, strategy, 0) for strategy in settings.strategies[:2]]
    monkeypatch.setitem(OF_LEARNERS, settings.strategies[1].learner, 3)
    after = [run_key(pool, settings, strategy, 0) for strategy in settings.strategies[:2]]
    assert after[1] != before[1]
    same = settings.strategies[0].learner != settings.strategies[1].learner
    assert (after[0] == before[0]) == same


def test_a_replay_refuses_rules_on_costs_it_does_not_predict(toy: tuple[KnownPool, ReplaySettings]) -> None:
    content = toy[1].model_dump(mode="json", exclude_none=True)
    content["strategies"][0]["search"]["stop"] = {"cpu_hours_per_hit": 2}
    with pytest.raises(ValueError, match="write calculations_per_hit"):
        ReplaySettings.model_validate(content)
