"""Tests between rungs: who goes on, who stops with what was learned, and what such tests miss."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

import materia
from instant_campaign import Instant, instant
from materia.campaign._climb_chance import climb_before
from materia.campaign._database import CampaignDatabase
from materia.campaign._dataset import build_dataset
from materia.campaign._dear import Dear
from materia.campaign._expected_cost import expected_costs
from materia.campaign._labels import given_by, labels_from
from materia.campaign._learning import PoolPredictions
from materia.campaign._loop import open_driver
from materia.campaign._settings import parse_settings
from materia.compute import Ledger
from materia.crystal import Crystal
from materia.errors import ConfigError
from materia.record import CampaignRecord, Climb, PickState
from materia.report import write_report
from materia.search import GapMap
from materia.simulation import ROUGH, engine, recipe
from materia.simulation.engines import gpaw as gpaw_engine

pytestmark = pytest.mark.gpaw
WINDOW = [1.2, 2.0]
DEAR = {
    "objectives": [{"quantity": "gap_hse06_on_pbe", "window": WINDOW}],
    "search": {"rounds": 2, "batch": 12, "exploration": 0.0},
}


def ladder(*, share: float, rung: str = "hybrid") -> dict[str, Any]:
    climb = {"climb": {"least": 0.05, "share": share}}
    recipes = [{"recipe": name, **climb} if name == rung else name for name in ("relax", "gap", "hybrid")]
    return {"level": "rough", "recipes": recipes}


@pytest.fixture(autouse=True)
def _with_libxc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed here; a GPAW without libxc would refuse the ladder."""
    able = gpaw_engine.GPAWEngine.capabilities

    def capable(self: Any, level: Any = None) -> Any:
        found = able(self, level)
        return replace(found, features={**found.features, "hybrid": True})

    monkeypatch.setattr(gpaw_engine.GPAWEngine, "capabilities", capable)


def opened(name: str, gap: float) -> float:
    """HSE06 gap of a made-up world: not far from what it is in ours."""
    return gap * 1.25 + 0.35 if gap > 0.01 else 0.0


def made(folder: Path, hse06: Callable[[str, float], float] = opened, **changes: Any) -> Instant:
    return instant(folder, hse06=hse06, **{**DEAR, **changes})


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Instant, CampaignRecord]:
    campaign = made(tmp_path, ladder=ladder(share=0.0))
    return campaign, campaign.finish()


def picks(record: CampaignRecord) -> dict[str, Any]:
    return {p.candidate_id: p for r in record.rounds for p in r.picks}


def jobs(folder: Path) -> set[str]:
    database = CampaignDatabase(folder / "campaign.sqlite")
    try:
        return {job.spec.name for job in Ledger(database.connection).jobs()}
    finally:
        database.close()


def test_who_has_little_chance_stops_and_keeps_its_labels(finished: tuple[Instant, CampaignRecord]) -> None:
    campaign, record = finished
    states = {name: pick.state for name, pick in picks(record).items()}
    assert {PickState.COMPUTED, PickState.STOPPED} == set(states.values())
    for name, pick in picks(record).items():
        (climb,) = record.climbs[name]
        assert climb.known_by == {"gap_hse06_on_pbe": "PBE gap"}
        assert (pick.state is PickState.STOPPED) == (climb.chance < 0.05)
        labels = {label.quantity: label.value for label in pick.labels}
        assert labels["gap_pbe"] == campaign.gaps[name]
        assert ("gap_hse06_on_pbe" in labels) == (f"{name}/hybrid" in jobs(campaign.folder)) == climb.climbs
        if pick.state is PickState.STOPPED:
            assert pick.reason.startswith("not worth hybrid: chance ")
            gap = opened(name, campaign.gaps[name])
            assert not WINDOW[0] + 0.1 < gap < WINDOW[1] - 0.1, "far from the edges nothing was missed"


def test_what_stopped_is_learned_from_and_goes_into_datasets(
    finished: tuple[Instant, CampaignRecord], tmp_path: Path
) -> None:
    campaign, record = finished
    stopped = [name for name, pick in picks(record).items() if pick.state is PickState.STOPPED]
    with open_driver(None, campaign.folder) as driver:
        from materia.campaign._learning import _examples

        known = _examples(driver.campaign)
        chance = driver.successes.before(2)
        assert chance is None or chance.min() > 0.5, "to stop is not to fail"
        assert driver.step().message == "the campaign is finished"
    assert {f"pick/{name}" for name in stopped} <= set(known)
    made_of = build_dataset([campaign.folder], name="x", card={})
    entries = {entry.id: entry for entry in made_of}
    assert {entries[name].status for name in stopped} == {"computed"}
    assert {label.quantity for label in entries[stopped[0]].labels} >= {"gap_pbe", "energy_per_atom"}
    made_of.save(tmp_path)
    assert build_dataset([tmp_path, campaign.folder], name="x", card={}).digest == made_of.digest
    rows = {row["candidate_id"]: row for row in record.ranking}
    assert {rows[name]["status"] for name in stopped} == {"stopped"}
    assert not any(rows[name]["hit"] for name in stopped)
    assert max(rows[n]["rank"] for n in rows if rows[n]["hit"]) < min(rows[n]["rank"] for n in stopped)


def test_a_share_goes_on_and_tells_what_is_missed(tmp_path: Path) -> None:
    """In this world HSE06 gaps lie where the map does not expect them: those let up at random show it."""
    campaign = made(tmp_path, hse06=lambda name, gap: 1.6, ladder=ladder(share=0.5), search={"rounds": 1, "batch": 24})
    record = campaign.finish()
    tests = {name: climbs[0] for name, climbs in record.climbs.items()}
    low = [name for name, climb in tests.items() if climb.chance < 0.05]
    spared = [name for name in low if tests[name].spared]
    assert 0.2 < len(spared) / len(low) < 0.8
    assert {picks(record)[name].state for name in spared} == {PickState.COMPUTED}
    assert not any(tests[name].spared for name in tests if name not in low)
    page = tmp_path / "page.html"
    write_report(record, page)
    text = " ".join(page.read_text().split())
    assert f"{len(spared)} of those below were let up at random, and {len(spared)} of them meet every" in text


def test_before_the_first_rung_predictions_decide_and_nothing_is_computed(tmp_path: Path) -> None:
    campaign = made(tmp_path, ladder=ladder(share=0.0, rung="relax"), search={"rounds": 3, "batch": 14})
    record = campaign.finish()
    stopped = [name for name, pick in picks(record).items() if pick.state is PickState.STOPPED]
    assert stopped
    for name in stopped:
        (climb,) = record.climbs[name]
        assert (climb.rung, climb.known_by) == (0, {"gap_hse06_on_pbe": "predicted"})
        assert not picks(record)[name].labels
        assert not any(job.startswith(f"{name}/") for job in jobs(campaign.folder))
    assert not {entry.id for entry in build_dataset([campaign.folder], name="x", card={})} & set(stopped)


def test_what_a_person_pins_is_computed_whatever_its_chances(tmp_path: Path) -> None:
    campaign = made(tmp_path, ladder=ladder(share=0.0))
    hopeless = min(campaign.gaps, key=lambda name: abs(campaign.gaps[name] - 2.9))
    campaign.steps(1)
    materia.pin(campaign.folder, hopeless, why="to be sure", who="Ada")
    record = campaign.finish()
    assert picks(record)[hopeless].state is PickState.COMPUTED
    assert hopeless not in record.climbs


def test_own_pairs_of_earlier_rounds_alone_recalibrate_the_map(finished: tuple[Instant, CampaignRecord]) -> None:
    """Then the order in which the jobs of a round end changes no verdict."""
    campaign, record = finished
    with open_driver(None, campaign.folder) as driver:
        dear = Dear(driver.campaign)
        assert dear._map("gap_hse06_on_pbe", 0) is GapMap.shipped()
        maps = [dear._map("gap_hse06_on_pbe", number) for number in (0, 1, 2)]
        counts = [0 if found.own is None else found.own.n for found in maps]
        computed = [sum(p.state is PickState.COMPUTED for p in r.picks) for r in record.rounds]
        assert counts == np.cumsum([0, *computed]).tolist()
        for row in driver.campaign.database.picks():
            again = climb_before(
                driver.campaign, driver.knowledge, driver.conditions, row.pick, 2, row.structure, row.pick.labels[:2]
            )
            if "gap_hse06_on_pbe" not in {label.quantity for label in row.pick.labels[:2]}:
                assert again == record.climbs[row.pick.candidate_id][0]


def test_rungs_that_are_hardly_reached_cost_hardly_anything(tmp_path: Path) -> None:
    """Three candidates: PBE gaps known as 0.9, 2.95 and (0.9 or 2.95) eV, in a window that only the first can meet."""
    campaign = made(tmp_path, ladder=ladder(share=0.1))
    campaign.steps(1)
    with open_driver(None, campaign.folder) as driver:
        n = len(driver.campaign.pool)
        whole, by_rung = driver.knowledge.costs, driver.knowledge.rung_costs
        assert whole == pytest.approx(by_rung.sum(1))
        mean, std = np.full(n, 0.9), np.full(n, 1e-6)
        mean[1], mean[2], std[2] = 2.95, 1.9, 1.0
        beliefs = driver.knowledge.beliefs(_predicted(mean, std), before_round=0)
        assert beliefs is not None
        costs = expected_costs(driver.campaign, driver.knowledge, driver.conditions, beliefs, 0)
        assert costs[0] == pytest.approx(whole[0])
        assert costs[1] == pytest.approx(by_rung[1, :2].sum() + 0.1 * by_rung[1, 2])
        assert costs[1] < costs[2] * whole[1] / whole[2] < whole[1]
        assert expected_costs(driver.campaign, driver.knowledge, driver.conditions, None, 0) is whole


def _predicted(mean: np.ndarray, std: np.ndarray) -> PoolPredictions:
    return PoolPredictions({"gap_pbe": (mean, std)}, None, {}, 0)


def test_it_is_told_in_status_and_report(finished: tuple[Instant, CampaignRecord]) -> None:
    from typer.testing import CliRunner

    from materia.cli._app import app

    campaign, record = finished
    numbers = [sum(pick.state is PickState.STOPPED for pick in round_.picks) for round_ in record.rounds]
    n = sum(numbers)
    told = CliRunner().invoke(app, ["status", str(campaign.folder)]).stdout
    assert all(f"{number} stopped" in told for number in numbers if number)
    data = json.loads(CliRunner().invoke(app, ["status", str(campaign.folder), "--json"]).stdout)
    assert [t["stopped"] for t in data["ladder"]["tests"]] == [n]
    page = (campaign.folder / "report" / "index.html").read_text()
    assert 'id="ladder"' in page
    assert "not worth hybrid" in page


def test_a_folder_of_an_older_version_has_no_tests(tmp_path: Path, finished: tuple[Instant, CampaignRecord]) -> None:
    old = tmp_path / "old"
    shutil.copytree(finished[0].folder, old)
    database = CampaignDatabase(old / "campaign.sqlite")
    database.connection.execute("DROP TABLE climbs")
    database.close()
    from materia.record import load_campaign

    assert load_campaign(old).climbs == {}


def test_a_condition_that_no_rung_can_tell_is_refused(tmp_path: Path) -> None:
    from instant_campaign import CONTENT

    content = {**CONTENT, "objectives": DEAR["objectives"], "ladder": {"level": "rough", "recipes": ["relax", "gap"]}}
    with pytest.raises(ConfigError, match=r"gap_hse06_on_pbe is asked for, and no rung of the ladder \(relax, gap\)"):
        parse_settings(content, where=tmp_path / "x.yaml")


def test_a_plan_for_gaps_that_nobody_has_computed_cannot_tell(tmp_path: Path) -> None:
    wanted = {"objectives": [{"quantity": "gap_pbe_soc", "window": WINDOW}]}
    campaign = made(tmp_path, ladder={"level": "rough", "recipes": ["relax", "spin_orbit"]}, **wanted)
    found = materia.plan(campaign.file, tmp_path / "plan")
    assert (found["verdict"], found["hits"], found["picks"]) == ("unknown", 0, 12)


@pytest.mark.parametrize("recipe_name", ["relax", "gap", "static", "spin_orbit"])
def test_recipes_give_what_is_said_of_them(recipe_name: str, tmp_path: Path) -> None:
    silicon = Crystal.from_ase(bulk("Si", "diamond", a=5.47))
    values = recipe(recipe_name)(silicon, ROUGH, engine("gpaw"), tmp_path)
    labels = {label.quantity for label in labels_from(silicon, [(ROUGH, "key", values)], None)}
    assert labels == given_by(recipe_name, electrons=True) - {"formation_energy_per_atom", "energy_above_hull"}


@pytest.mark.parametrize(
    ("recipe_name", "constants", "fidelity"),
    [
        ("dielectric", {"dielectric_electronic_own": 13.0, "dielectric_static_own": 13.1}, "PBE"),
        ("dielectric_rpa", {"dielectric_electronic_rpa": 12.3}, "RPA@PBE"),
    ],
)
def test_dielectric_recipes_give_what_is_said_of_them(
    recipe_name: str, constants: dict[str, float], fidelity: str
) -> None:
    """Their fields, as their own tests see them."""
    silicon = Crystal.from_ase(bulk("Si", "diamond", a=5.47))
    bands = {"energy_per_atom": -5.4, "gap_pbe": 0.6, "gap_direct_pbe": 2.5, "overlap": 0.0, recipe_name: [[13.1]]}
    labels = {x.quantity: x for x in labels_from(silicon, [(ROUGH, "key", {**bands, **constants})], None)}
    assert set(labels) == given_by(recipe_name, electrons=True) - {"formation_energy_per_atom", "energy_above_hull"}
    assert {(name, labels[name].value) for name in constants} == set(constants.items())
    assert {labels[name].fidelity for name in constants} == {fidelity}


@pytest.mark.parametrize(
    ("climb", "words"),
    [
        ({"least": 0.0}, "greater than 0"),
        ({"least": 0.1, "share": 2}, "less than or equal to 1"),
        ({"lest": 0.1}, "least"),
    ],
)
def test_a_wrong_test_is_named(tmp_path: Path, climb: dict[str, float], words: str) -> None:
    from instant_campaign import CONTENT

    content = {**CONTENT, "ladder": {"level": "rough", "recipes": ["relax", {"recipe": "gap", "climb": climb}]}}
    with pytest.raises(ConfigError, match=words):
        parse_settings(content, where=tmp_path / "x.yaml")


def test_a_test_is_kept_as_written() -> None:
    climb = Climb(2, "hybrid", 0.01, {"gap_hse06_on_pbe": 0.01}, {"gap_hse06_on_pbe": "PBE gap"}, 0.05)
    assert not climb.climbs
    assert replace(climb, spared=True).climbs
    assert replace(climb, chance=0.05).climbs
