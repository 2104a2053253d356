"""Replay on pools whose answers are known: figures by hand, nothing learned from hidden labels, runs kept."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
import pytest

from materia.crystal import Crystal
from materia.errors import ConfigError, DatasetError
from materia.search import Beliefs, Conditions, PoolSampler, PoolView, reserving_ask
from materia.search.acquisitions.chemist import tier
from materia.search.replay import (
    DataSettings,
    KnownPool,
    Learned,
    ReplaySettings,
    StrategySettings,
    Trajectory,
    load_replay,
    play,
    play_all,
    summarise,
)
from materia.search.replay import learner as learners
from materia.search.replay._measures import expected_calculations, interval, luck

N = 300
CATIONS, ANIONS = (
    ("Li", "Na", "K", "Mg", "Ca", "Zn", "Cd", "Al", "Ga", "In"),
    ("S", "Se", "Te", "O", "N", "P", "F", "Cl"),
)
SETTINGS = {
    "version": 1,
    "name": "toy",
    "data": {"records": "toy.jsonl.gz", "targets": {"gap": "gap_pbe_mp", "hull": "energy_above_hull_mp"}},
    "objectives": [{"quantity": "gap_pbe_mp", "window": [1.0, 2.0]}],
    "constraints": [{"quantity": "energy_above_hull_mp", "below": 0.05}],
    "start": 30,
    "batch": 5,
    "seeds": 3,
    "strategies": [
        {"name": "random", "learner": "none", "search": {"acquisition": "random"}},
        {"name": "forest", "search": {"exploration": 0.0, "diversity": 0.0}},
    ],
}


def crystal(cation: str, anion: str, stretch: float = 1.0, size: float = 5.5) -> Crystal:
    lattice = np.diag([size, size, size * stretch])
    coords = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Crystal.from_species(lattice, [cation, cation, anion, anion], coords)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gaps that follow from the anion and the cation, hull distances from the shape of the cell, and noise."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("records") / "toy.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for k in range(N):
            c, a = rng.integers(len(CATIONS)), rng.integers(len(ANIONS))
            stretch = float(rng.uniform(0.9, 1.3))
            made = crystal(CATIONS[c], ANIONS[a], stretch, float(rng.uniform(5, 6)))
            targets = {
                "gap": max(0.0, 0.6 * a + 0.1 * c - 0.3 + float(rng.normal(0, 0.15))),
                "hull": abs(stretch - 1.0) * 0.3,
            }
            file.write(json.dumps({"id": f"toy-{k}", "structure": made.to_record(), "targets": targets}) + "\n")
        file.write(json.dumps({"id": "half", "structure": made.to_record(), "targets": {"gap": 1.5}}) + "\n")
    return path


def settings_for(records: Path, **changes: object) -> ReplaySettings:
    data = {**SETTINGS["data"], "records": str(records)}  # type: ignore[dict-item]
    return ReplaySettings.model_validate({**SETTINGS, "data": data, **changes})


@pytest.fixture(scope="module")
def pool(records: Path) -> KnownPool:
    settings = settings_for(records)
    return KnownPool.load(settings.data, Conditions(settings.objectives, settings.constraints))


def test_only_candidates_with_every_answer_are_in_the_pool(pool: KnownPool) -> None:
    assert len(pool) == N
    assert "half" not in pool.ids
    assert set(pool.values) == {"gap_pbe_mp", "energy_above_hull_mp"}


def test_the_relaxed_volume_is_not_shown(tmp_path: Path, records: Path) -> None:
    """Cells of another size, everything else alike: the pool is the same to the last digit that matters."""

    def seen(scale: float, volume: str) -> list[float]:
        made = crystal("Zn", "S")
        made = made.scaled_to_volume(made.volume * scale)
        path = tmp_path / "one.jsonl"
        path.write_text(json.dumps({"id": "one", "structure": made.to_record(), "targets": {"gap": 1.0}}) + "\n")
        data = DataSettings.model_validate({"records": str(path), "targets": {"gap": "gap_pbe_mp"}, "volume": volume})
        conditions = Conditions(settings_for(records).objectives)
        return [c.volume for c in KnownPool.load(data, conditions).crystals]

    assert seen(1.0, "touching") == pytest.approx(seen(1.4, "touching"), rel=1e-9)
    assert seen(1.0, "given") != pytest.approx(seen(1.4, "given"), rel=1e-2)


def test_a_learner_is_shown_the_labels_computed_so_far_and_no_other(
    pool: KnownPool, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[np.ndarray, Mapping[str, np.ndarray]]] = []

    class Spy:
        def learn(self, pool: KnownPool, rows: np.ndarray, labels: Mapping[str, np.ndarray], seed: int) -> Learned:
            shown.append((rows.copy(), labels))
            return learners.NoLearner().learn(pool, rows, labels, seed)

    monkeypatch.setattr("materia.search.replay._trajectory.load", lambda name, options: Spy())
    settings = settings_for(records)
    run = play(pool, settings, settings.strategies[0], 0)
    for k, (rows, labels) in enumerate(shown):
        assert tuple(rows) == run.order[: 30 + 5 * k]
        assert set(labels) == {"gap_pbe_mp", "energy_above_hull_mp"}
        assert all(np.array_equal(v, pool.values[q][rows]) for q, v in labels.items())
    assert len(set(run.order)) == len(run.order)


@pytest.mark.parametrize("acquisition", ["probability", "thompson", "ehvi", "chemist"])
def test_picks_are_those_of_the_sampler(pool: KnownPool, records: Path, acquisition: str) -> None:
    """The first round of a run against an Optuna study with a pool sampler and the same predictions."""
    settings = settings_for(records, most=40)
    strategy = StrategySettings.model_validate({"name": "x", "search": {"acquisition": acquisition, "batch": 5}})
    run = play(pool, settings, strategy, 2)
    start, conditions = list(run.order[:30]), Conditions(settings.objectives, settings.constraints)
    rows = np.array(start)
    learned = learners.load("forest", {}).learn(pool, rows, {q: v[rows] for q, v in pool.values.items()}, 2 * 100_003)
    view = PoolView(
        len(pool), conditions, Beliefs(learned.columns), groups={"prototype": pool.prototypes}, formulas=pool.formulas
    )
    sampler = PoolSampler(view, settings=strategy.search, seed=2, exclude=start)
    study = optuna.create_study(sampler=sampler)
    observed = [conditions.evaluate({q: float(v[i]) for q, v in pool.values.items()}) for i in start]
    for verdict in observed:  # what the start has shown, as trials of an earlier round
        trial = optuna.trial.create_trial(
            values=list(verdict.losses.values()),
            user_attrs={"round": -1},
            constraints=verdict.violations,
            params={"candidate": start[0]},
            distributions={"candidate": optuna.distributions.IntDistribution(0, len(pool) - 1)},
        )
        study.add_trial(trial)
    for slot in range(5):
        with sampler.at(0, slot):
            asked, index = reserving_ask(study)
        asked.set_user_attr("slot", slot)
        asked.set_user_attr("round", 0)
        assert index == run.order[30 + slot]


def test_a_run_is_the_same_run_again_and_seeds_start_alike(pool: KnownPool, records: Path) -> None:
    settings = settings_for(records)
    random, forest = settings.strategies
    first, second = (play(pool, settings, forest, 1) for _ in range(2))
    assert first.order == second.order
    assert first.order[:30] == play(pool, settings, random, 1).order[:30]
    assert first.order[:30] != play(pool, settings, forest, 0).order[:30]
    hits = pool.hits(Conditions(settings.objectives, settings.constraints))
    assert hits[list(first.order)].sum() >= hits.sum() / 2
    assert hits[list(first.order[: -settings.batch])].sum() < hits.sum() / 2


def test_runs_are_kept_and_made_over_processes_alike(pool: KnownPool, records: Path, tmp_path: Path) -> None:
    settings, seen = settings_for(records), []
    serial = play_all(pool, settings, cache=tmp_path / "a", jobs=1, report=lambda *at: seen.append(at))
    assert seen == [(k, 6) for k in range(7)]
    parallel = play_all(pool, settings, cache=tmp_path / "b", jobs=2)
    assert [r.order for r in serial] == [r.order for r in parallel]
    files = sorted((tmp_path / "a").glob("*.json"))
    assert len(files) == 6
    files[0].unlink()
    files[1].write_text("{torn")
    seen.clear()
    again = play_all(pool, settings, cache=tmp_path / "a", jobs=1, report=lambda *at: seen.append(at))
    assert seen[0] == (4, 6)  # four were kept
    assert [r.order for r in again] == [r.order for r in serial]
    more = settings.model_copy(update={"seeds": 4})
    play_all(pool, more, cache=tmp_path / "a", jobs=1, report=lambda *at: seen.append(at))
    assert seen[-3:] == [(6, 8), (7, 8), (8, 8)]


def test_a_dear_strategy_may_have_fewer_seeds(pool: KnownPool, records: Path, tmp_path: Path) -> None:
    random, forest = SETTINGS["strategies"]  # type: ignore[misc]
    settings = settings_for(records, strategies=[random, {**forest, "seeds": 2}])
    found = summarise(pool, settings, play_all(pool, settings, cache=tmp_path, jobs=1))["strategies"]
    assert (found["random"]["seeds"], found["forest"]["seeds"]) == (3, 2)
    all_of_it = settings_for(records)
    again = summarise(pool, all_of_it, play_all(pool, all_of_it, cache=tmp_path, jobs=1))["strategies"]
    assert again["random"] != found["random"]  # of three seeds against three, not the two both had
    assert again["random"]["calculations"] == found["random"]["calculations"]
    assert len(list(tmp_path.glob("*.json"))) == 6


def test_the_better_strategy_is_measured_as_better(pool: KnownPool, records: Path, tmp_path: Path) -> None:
    settings = settings_for(records, seeds=8)
    found = summarise(pool, settings, play_all(pool, settings, cache=tmp_path, jobs=1))
    random, forest = found["strategies"]["random"], found["strategies"]["forest"]
    assert random["acceleration"]["low"] < 1 < random["acceleration"]["high"]
    assert forest["acceleration"]["low"] > 1.3
    assert forest["against"]["random"]["low"] > 1
    assert random["against"]["forest"]["high"] < 1
    assert forest["curve"]["regret"][-1]["value"] == pytest.approx(0.0)
    assert forest["curve"]["hypervolume"][-1]["high"] <= 1 + 1e-9
    assert 0.6 < forest["calibration"]["coverage_90"]["gap_pbe_mp"][0] <= 1
    assert forest["reached"] == 8


def test_shuffled_labels_give_no_acceleration(pool: KnownPool, records: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(N)
    shuffled = KnownPool(
        pool.ids, pool.crystals, pool.prototypes, pool.spacegroups, {q: v[order] for q, v in pool.values.items()}
    )
    settings = settings_for(records, seeds=10)
    found = summarise(shuffled, settings, play_all(shuffled, settings, cache=tmp_path, jobs=1))
    assert found["strategies"]["forest"]["acceleration"]["low"] < 1.05


def test_calculations_of_chance_by_counting() -> None:
    """k(n + 1)/(h + 1) against draws without repeats."""
    rng = np.random.default_rng(0)
    hits = np.zeros(30, dtype=bool)
    hits[:7] = True
    needed = [int(np.flatnonzero(np.cumsum(rng.permutation(hits)) == 3)[0]) + 1 for _ in range(20_000)]
    mean = expected_calculations(30, 7, 3)
    assert np.mean(needed) == pytest.approx(mean, rel=0.01)
    low, high = luck(30, 7, 3)
    assert 0.92 < np.mean([low <= mean / n <= high for n in needed]) <= 0.99  # calculations are whole numbers


def test_intervals_are_those_of_the_mean() -> None:
    samples = np.random.default_rng(0).normal(5.0, 2.0, 400)
    found = interval(samples)
    error = samples.std() / np.sqrt(400)
    assert found["value"] == pytest.approx(samples.mean(), abs=1e-3)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_figures_of_two_runs_by_hand(pool: KnownPool, records: Path) -> None:
    settings = settings_for(records, seeds=2, strategies=SETTINGS["strategies"][:1])  # type: ignore[index]
    hits = pool.hits(Conditions(settings.objectives, settings.constraints))
    good, bad = np.flatnonzero(hits), np.flatnonzero(~hits)
    wanted = int(np.ceil(hits.sum() / 2))
    runs = [
        Trajectory("random", 0, tuple(map(int, good[:wanted])), ()),
        Trajectory("random", 1, tuple(map(int, [*bad[:wanted], *good[:wanted]])), ()),
    ]
    found = summarise(pool, settings, runs)["strategies"]["random"]
    assert found["calculations"]["value"] == pytest.approx(1.5 * wanted)
    by_chance = expected_calculations(N, int(hits.sum()), wanted)
    assert found["acceleration"]["value"] == pytest.approx(by_chance / (1.5 * wanted), abs=1e-3)
    assert found["acceleration"]["low"] == pytest.approx(by_chance / (2 * wanted), abs=1e-3)
    assert found["acceleration"]["high"] == pytest.approx(by_chance / wanted, abs=1e-3)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("CuInSe2", 0),  # 1 + 3 - 2*2
        ("GaAs", 0),
        ("FeS", 0),  # Fe2+: an open shell is a charge all the same
        ("Cu2S", 0),
        ("Fe3Se7", 1),  # no whole charges
        ("ZnO", 2),
        ("BiSI", 0),
        ("BaSO4", 2),
        ("CsPbCl3", 2),
        ("GaN", 2),
    ],
)
def test_the_chemist_by_hand(formula: str, expected: int) -> None:
    assert tier(formula) == expected


def test_the_chemist_goes_by_the_rule_first(pool: KnownPool, records: Path) -> None:
    settings = settings_for(records, most=N)
    strategy = StrategySettings.model_validate({"name": "c", "learner": "none", "search": {"acquisition": "chemist"}})
    run = play(pool, settings.model_copy(update={"share": 1.0}), strategy, 0)
    tiers = [tier(pool.formulas[i]) for i in run.order[30:]]
    assert tiers == sorted(tiers)


def test_the_projects_own_data_with_the_hull_of_what_is_labelled() -> None:
    conditions = Conditions(
        ReplaySettings.model_validate(
            {**SETTINGS, "objectives": [{"quantity": "gap_pbe", "window": [0.6, 1.2]}], "constraints": []}
        ).objectives,
        ReplaySettings.model_validate(
            {**SETTINGS, "constraints": [{"quantity": "energy_above_hull", "below": 0.05}]}
        ).constraints,
    )
    pool = KnownPool.load(DataSettings(dataset="shipped"), conditions)
    assert pool.to_learn(conditions) == ("gap_pbe", "formation_energy_per_atom")
    columns = {q: (pool.values[q], np.zeros(len(pool))) for q in pool.to_learn(conditions)}

    def above(known: int, *, expected: bool) -> np.ndarray:
        rows = list(range(known))
        return pool.complete(columns, rows, conditions, expected=expected)["energy_above_hull"][0]

    few, most = above(10, expected=False), above(len(pool), expected=False)
    assert (most >= few - 1e-9).all()  # more phases only lower the hull
    assert (most > few + 0.1).sum() > len(pool) / 4, "ten phases say little about the hull"
    assert np.allclose(np.maximum(pool.values["energy_above_hull"], 0.0), np.maximum(most, 0.0), atol=1e-6)
    # the same ten with all others as predicted, here rightly, are the whole hull
    assert np.allclose(above(10, expected=True), pool.values["energy_above_hull"], atol=1e-6)


def test_a_part_of_a_dataset_is_searched_and_judged_against_the_whole_hull() -> None:
    stable = {
        "objectives": [{"quantity": "gap_pbe", "goal": "maximize"}],
        "constraints": [{"quantity": "energy_above_hull", "below": 0.05}],
    }
    settings = ReplaySettings.model_validate({**SETTINGS, **stable})
    conditions = Conditions(settings.objectives, settings.constraints)
    whole = KnownPool.load(DataSettings(dataset="shipped"), conditions)
    part = KnownPool.load(
        DataSettings(dataset="shipped", prototypes=("zincblende",), elements=("Zn", "S", "Se", "Ga", "As")), conditions
    )
    assert sorted(part.ids) == ["GaAs-zincblende", "ZnS-zincblende", "ZnSe-zincblende"]
    above = dict(zip(whole.ids, whole.values["energy_above_hull"], strict=True))
    assert [above[i] for i in part.ids] == part.values["energy_above_hull"].tolist()
    with pytest.raises(DatasetError, match="no structure of these elements"):
        KnownPool.load(DataSettings(dataset="shipped", prototypes=("zinkblende",)), conditions)


def test_errors_name_the_key_and_the_remedy(tmp_path: Path, pool: KnownPool, records: Path) -> None:
    path = tmp_path / "replay.yaml"

    def write(**changes: object) -> None:
        path.write_text(json.dumps({**SETTINGS, **changes}))

    write(strategy=[])
    with pytest.raises(ConfigError, match="did you mean 'strategies'"):
        load_replay(path)
    write(strategies=[SETTINGS["strategies"][0]] * 2)  # type: ignore[index]
    with pytest.raises(ConfigError, match="two strategies are named random"):
        load_replay(path)
    write(data={"dataset": "shipped", "records": "x"})
    with pytest.raises(ConfigError, match="exactly one of dataset and records"):
        load_replay(path)
    write(data={"records": "x", "targets": {"gap": "gap_pbe"}, "elements": ["Ga"]})
    with pytest.raises(ConfigError, match="records are taken whole"):
        load_replay(path)
    write(share=0.5, until=0.2)
    with pytest.raises(ConfigError, match="lies below share"):
        load_replay(path)
    write()
    assert load_replay(path).data.records == str(tmp_path / "toy.jsonl.gz")
    with pytest.raises(DatasetError, match="cannot be read"):
        KnownPool.load(load_replay(path).data, Conditions(load_replay(path).objectives))
    with pytest.raises(ConfigError, match=r"unknown learner 'oracle'[\s\S]*forest"):
        learners.load("oracle", {})
    with pytest.raises(ConfigError, match="learner 'forest'"):
        learners.load("forest", {"leaves": 3})
    asked = Conditions(settings_for(records).objectives)
    with pytest.raises(DatasetError, match="say nothing about gap_pbe_mp"):
        KnownPool.load(DataSettings(dataset="shipped"), asked)
    with pytest.raises(DatasetError, match="dielectric_electronic is a tensor"):
        KnownPool.load(DataSettings(records=str(records), targets={"eps": "dielectric_electronic"}), asked)
