"""The gate of `materia run`: without a backtest that speaks for these settings on these labels nothing starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import materia
from instant_campaign import Instant, instant
from materia.campaign import load_settings, plan
from materia.campaign._folder import load_dataset
from materia.campaign._gate import Advice, advice, plan_digest
from materia.campaign._settings import parse_settings
from materia.cli._app import app
from materia.data import Dataset
from materia.errors import CampaignError

pytestmark = pytest.mark.gpaw
AT_RANDOM = {"acquisition": "random", "exploration": 0, "rounds": 1, "plan": "required"}
MANY_HITS = [{"quantity": "gap_pbe", "window": [2.0, 6.0]}]


def run(campaign: Instant, **more: Any) -> None:
    materia.run(campaign.file, campaign.folder, **more)


def untouched(campaign: Instant) -> bool:
    return not any((campaign.folder / name).exists() for name in ("campaign.yaml", "campaign.sqlite", "pool", "jobs"))


def test_without_a_plan_that_is_required_nothing_is_touched(tmp_path: Path) -> None:
    campaign = instant(tmp_path, search={"plan": "required", "rounds": 1})
    with pytest.raises(CampaignError, match=r"no backtest was made[\s\S]*materia plan FILE[\s\S]*--override") as told:
        run(campaign)
    assert "search.plan" in str(told.value)
    assert untouched(campaign)
    with pytest.raises(CampaignError, match="needs a reason"):
        run(campaign, override="   ")
    assert untouched(campaign)
    run(campaign, override="the reviewers want it", seconds=0)
    kept = campaign.record.meta["plan"]
    assert kept["verdict"] == "none"
    assert kept["override"]["reason"] == "the reviewers want it"
    assert kept["override"]["who"]
    assert kept["override"]["when"]
    run(campaign)  # what was started goes on without being asked again
    assert campaign.record.state == "finished"
    assert json.loads(CliRunner().invoke(app, ["status", str(campaign.folder), "--json"]).stdout)["plan"] == kept


def test_advice_is_told_and_stops_nobody(tmp_path: Path) -> None:
    campaign = instant(tmp_path / "a", search={"rounds": 1})
    told = CliRunner().invoke(
        app, ["run", str(campaign.file), "--folder", str(campaign.folder)], catch_exceptions=False
    )
    assert told.exit_code == 0
    assert told.stdout.count("no backtest was made (materia plan)") == 1
    silent = instant(tmp_path / "b", search={"rounds": 1, "plan": "off"})
    told = CliRunner().invoke(app, ["run", str(silent.file), "--folder", str(silent.folder)], catch_exceptions=False)
    assert "backtest" not in told.stdout
    assert silent.record.meta["plan"] == {}


def test_a_backtest_that_speaks_against_the_campaign_refuses_it(tmp_path: Path) -> None:
    """A real one: who chooses at random is no faster than random choice."""
    campaign = instant(tmp_path, search=AT_RANDOM, surrogate=None, objectives=MANY_HITS)
    found = plan(campaign.file, campaign.folder, seeds=8, jobs=1)
    assert found["verdict"] == "refused"
    with pytest.raises(
        CampaignError, match=r"times as fast as random choice, which includes 1[\s\S]*change the strategy"
    ):
        run(campaign)
    assert untouched(campaign)
    plan(campaign.file, campaign.folder, seeds=8, jobs=1, override="a control experiment")
    run(campaign)
    kept = campaign.record.meta["plan"]
    assert kept["verdict"] == "overridden"
    assert "a control experiment" in kept["message"]


def test_few_hits_start_a_round_of_exploration_and_nothing_else(tmp_path: Path) -> None:
    few = [{"quantity": "gap_pbe", "window": [1.0, 1.1]}]
    campaign = instant(tmp_path / "a", search={"plan": "required"}, objectives=few)
    assert plan(campaign.file, campaign.folder)["verdict"] == "unknown"
    with pytest.raises(CampaignError, match=r"too few for a backtest[\s\S]*exploration: 1.0"):
        run(campaign)
    explores = {"plan": "required", "rounds": 1, "exploration": 1.0}
    campaign = instant(tmp_path / "b", search=explores, objectives=few)
    plan(campaign.file, campaign.folder)
    run(campaign)
    assert campaign.record.meta["plan"]["verdict"] == "exploration"


def test_a_plan_of_other_settings_or_labels_does_not_count(tmp_path: Path) -> None:
    campaign = instant(tmp_path / "a", search={"plan": "required"})
    settings = load_settings(campaign.file)
    dataset = load_dataset(settings)
    campaign.folder.mkdir(exist_ok=True)
    speed = {"value": 2.0, "low": 1.5, "high": 2.5}
    content = {"verdict": "go", "acceleration": speed, "digest": plan_digest(settings, dataset)}
    (campaign.folder / "plan.json").write_text(json.dumps(content))

    def verdict(*, labels: Dataset = dataset, **changes: Any) -> str:
        content = settings.model_dump(mode="json")
        for section, values in changes.items():
            content[section] = {**content[section], **values} if isinstance(values, dict) else values
        return advice(parse_settings(content, where=campaign.file), labels, campaign.folder).verdict

    assert advice(settings, dataset, campaign.folder) == Advice(
        "go", "backtest: 2.00 (1.50 to 2.50) times as fast as random choice", content
    )
    assert verdict() == "go"
    assert verdict(name="another", seed=9, compute={"cores": 2}, tracking={"enabled": True}) == "go"
    assert verdict(search={"plan": "advised", "approval": "required", "stop": {"remaining_hits": 1}}) == "go"
    assert verdict(surrogate={"threads": 2}) == "go"
    assert verdict(surrogate={"members": 3}) == "stale"
    assert verdict(search={"batch": 7}) == "stale"
    assert verdict(objectives=MANY_HITS) == "stale"
    assert verdict(constraints=[{"quantity": "supply_risk", "below": 0.4}]) == "stale"
    assert verdict(labels=Dataset(dataset.computed[:-1], dict(dataset.card))) == "stale"
    run(campaign, seconds=0)
    assert campaign.record.meta["plan"]["verdict"] == "go"
    (campaign.folder / "plan.json").write_text("{torn")
    with pytest.raises(CampaignError, match=r"plan cannot be read[\s\S]*materia plan"):
        advice(settings, dataset, campaign.folder)
