"""What a campaign still has to find, told before every round, and rules that end it by that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import materia
from instant_campaign import CONTENT, instant
from materia.campaign._settings import parse_settings
from materia.cli._app import app
from materia.errors import ConfigError
from materia.record import CampaignRecord
from materia.search import Remaining
from materia.tracking._runs import campaign_run

RULE = {"remaining_share": 0.7, "certainty": 0.5}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> CampaignRecord:
    campaign = instant(tmp_path_factory.mktemp("stop"), search={"rounds": 5, "batch": 3, "stop": RULE})
    for _ in range(12):  # a driver for every five steps: nothing is remembered but what is on disk
        if "finished" in campaign.steps(5)[-1].message:
            break
    return campaign.record


@pytest.mark.gpaw
def test_a_rule_ends_the_campaign_before_its_rounds(stopped: CampaignRecord) -> None:
    assert stopped.state == "finished"
    assert 2 <= len(stopped.rounds) < 5
    assert "remaining_share: 0.7" in stopped.meta["stopped_because"]
    told = {int(n): Remaining.from_json(left) for n, left in stopped.meta["remaining"].items()}
    assert sorted(told) == list(range(len(stopped.rounds) + 1)), "once before each round, and at the end"
    shares = [left.at_most(0.5) / max(1, left.found + left.at_most(0.5)) for left in told.values()]
    assert shares[-1] <= 0.7
    assert all(share > 0.7 for share in shares[2:-1]), "it had held before"


@pytest.mark.gpaw
def test_what_is_told_is_about_what_is_left(stopped: CampaignRecord) -> None:
    hits = {row["candidate_id"] for row in stopped.ranking if row["hit"]}
    labelled = sum(row["status"] == "labelled" for row in stopped.ranking)
    for number, record in stopped.meta["remaining"].items():
        left = Remaining.from_json(record)
        before = [p for r in stopped.rounds if r.number < int(number) for p in r.picks]
        assert left.found == sum(p.candidate_id in hits for p in before)
        assert left.unknown <= stopped.pool["n"] - len(before) - labelled
        assert left.believed > 0
        assert left.next_hit is not None
        assert left.most is not None
        assert left.next_hit.calculations <= left.most.calculations <= left.unknown
        assert left.most.cpu_s is not None
        assert left.room is not None  # supply_risk is a goal
    first, last = (Remaining.from_json(stopped.meta["remaining"][n]) for n in ("0", str(len(stopped.rounds))))
    assert (first.offset, first.slope) == (0.0, 1.0)
    assert (last.offset, last.slope) != (0.0, 1.0)


@pytest.mark.gpaw
def test_status_report_and_tracking_tell_it(stopped: CampaignRecord) -> None:
    runner = CliRunner()
    found = json.loads(runner.invoke(app, ["status", str(stopped.folder), "--json"]).stdout)
    last = found["remaining"][-1]
    kept = stopped.meta["remaining"][str(len(stopped.rounds))]
    assert (last["round"], last["expected"], last["high"]) == (len(stopped.rounds), kept["expected"], kept["high"])
    assert last["next_hit"]["cpu_hours"] == pytest.approx(kept["next_hit"]["cpu_s"] / 3600, abs=1e-4)
    assert found["stopped_because"] == stopped.meta["stopped_because"]
    words = runner.invoke(app, ["status", str(stopped.folder)]).stdout
    assert f"{kept['expected']:.1f} hits expected" in " ".join(words.split())
    page = (stopped.folder / "report" / "index.html").read_text()
    assert "What is still to be found" in page
    assert f"at most {kept['high']} (95 %)" in page
    metrics = [m for m in campaign_run(stopped).metrics if m[0].startswith("remaining/")]
    assert ("remaining/hits", kept["expected"], len(stopped.rounds)) in metrics
    assert ("remaining/hits_at_most", float(kept["high"]), len(stopped.rounds)) in metrics
    assert {step for _, _, step in metrics} == set(range(len(stopped.rounds) + 1))


@pytest.mark.gpaw
def test_a_pin_at_the_end_gets_a_round_of_its_own(tmp_path: Path) -> None:
    """The rule holds from the first time it is asked; what people pinned before is computed, and nothing beside it."""
    campaign = instant(tmp_path, search={"rounds": 4, "batch": 3, "stop": {"remaining_hits": 10_000, "not_before": 1}})
    campaign.until("round 0: 3 computed")
    materia.pin(campaign.folder, "InSb-rocksalt", why="we can grow it")
    record = campaign.finish()
    assert [len(r.picks) for r in record.rounds] == [3, 1]
    assert record.rounds[1].picks[0].candidate_id == "InSb-rocksalt"
    assert "remaining_hits" in record.meta["stopped_because"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search": {"stop": {}}}, "holds no rule"),
        ({"search": {"stop": {"remaining": 3}}}, r"unknown key 'search.stop.remaining'[\s\S]*remaining_hits"),
        ({"search": {"stop": RULE, "acquisition": "random"}, "surrogate": None}, "surrogate is null"),
        ({"search": {"stop": RULE}, "objectives": [{"quantity": "gap_pbe", "goal": "minimize"}]}, "nothing makes one"),
        (
            {
                "search": {"stop": {"hypervolume_share": 0.1}},
                "objectives": [{"quantity": "gap_pbe", "window": [1, 2]}],
            },
            "needs an objective with a goal",
        ),
    ],
)
def test_rules_that_cannot_hold_are_refused_with_the_file(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as told:
        parse_settings({**CONTENT, **changes}, where="campaign.yaml")
    assert "campaign.yaml" in str(told.value)
