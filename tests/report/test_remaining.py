"""What is still to be found, on the page: nothing where nothing was told, words, prices and a figure where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from materia.record import CampaignRecord
from materia.report import remaining_summary, told_remaining, write_replay, write_report
from materia.report._remaining import remaining_figure
from record_factory import make_record

LEFT = {
    "unknown": 900,
    "found": 2,
    "believed": 8.0,
    "expected": 6.0,
    "spread": 0.4,
    "high": 14,
    "offset": -0.3,
    "slope": 1.0,
    "next_hit": {"calculations": 5, "cpu_s": 7200.0},
    "most": {"calculations": 300, "cpu_s": 360_000.0},
    "room": {"expected": 0.12, "high": 0.3, "certain": 0.2},
}


@pytest.fixture
def record(tmp_path: Path) -> CampaignRecord:
    made = make_record(tmp_path / "run")
    later = {**LEFT, "found": 4, "expected": 0.5, "high": 3, "next_hit": None}
    return replace(made, meta={**made.meta, "remaining": {"0": LEFT, "10": later, "9": LEFT}})


def test_entries_come_in_order_with_hours_on_the_campaigns_nodes(record: CampaignRecord) -> None:
    rows = remaining_summary(record)
    assert [r["round"] for r in rows] == [0, 9, 10]
    assert rows[0]["next_hit"] == {"calculations": 5, "cpu_hours": 2.0, "node_hours": 0.25}  # nodes of eight cores
    assert rows[0]["correction"] == 0.75
    assert told_remaining(rows[0]) == (
        "6.0 hits expected among 900 candidates left, at most 14 (95 %), beside 2 found; "
        "the next hit costs 5 calculations (2.00 CPU hours, 0.250 node-hours); "
        "95 % of what is left costs 300 calculations (100 CPU hours, 12.5 node-hours); "
        "hypervolume still to be gained: 12.0 %, at most 30.0 % (95 %)"
    )
    assert "less than one hit is left" in told_remaining(rows[-1])


def test_without_conditions_only_the_hypervolume_is_told(record: CampaignRecord) -> None:
    goal = {**record.settings, "objectives": [{"quantity": "supply_risk", "goal": "minimize"}], "constraints": []}
    rows = remaining_summary(replace(record, settings=goal))
    assert rows[0]["expected"] is None
    assert told_remaining(rows[0]).startswith("hypervolume still to be gained")
    assert not remaining_figure(rows)


def test_the_page_has_it_where_it_was_told(record: CampaignRecord, tmp_path: Path) -> None:
    page = write_report(record, tmp_path / "told.html").read_text()
    assert "What is still to be found" in page
    assert "Before round 10: 4 found, 0.5 expected, at most 3" in page
    silent = replace(record, meta={k: v for k, v in record.meta.items() if k != "remaining"})
    assert "What is still to be found" not in write_report(silent, tmp_path / "silent.html").read_text()


def test_a_replay_tells_when_it_would_have_stopped(tmp_path: Path) -> None:
    one = {"value": 1.0, "low": 0.9, "high": 1.1}
    strategy = {
        "acceleration": one,
        "calculations": one,
        "reached": 2,
        "seeds": 2,
        "against": {},
        "cpu_s_round": {"learn": 0.1, "choose": 0.1},
        "curve": {"n": [10, 20], **{k: [one, one] for k in ("hits", "enhancement", "regret", "hypervolume")}},
        "calibration": {"n": [10, 20], "coverage_90": {}, "expected_hits": [1, 1], "hits": [1, 1]},
        "remaining": {"n": [10, 20], "expected": [9.0, 4.0], "high": [20.0, 9.0], "truth": [8.0, 5.0], "held": 0.97},
    }
    rules = {"remaining_share": 0.05, "certainty": 0.8, "not_before": 2}
    stop = {"rules": rules, "seeds": 2, "stopped": 2, "seen": 2, "step": {"value": 118.4, "low": 110, "high": 125}}
    stop |= {"oracle": {"value": 100, "low": 90, "high": 110}, "off": {"value": 0.184, "low": 0.1, "high": 0.25}}
    stop |= {"lost": {"value": 0.012, "low": 0.0, "high": 0.03}, "near": 0.5, "kept": 1.0}
    goal = {"pool": 165, "hits": 57, "wanted": 29, "random_calculations": 83.0, "luck": [0.8, 1.2], "start": 16}
    goal |= {"batch": 4, "pool_digest": "0" * 64}
    result = {"name": "x", "goal": goal, "strategies": {"rule": {**strategy, "stop": stop}, "plain": strategy}}
    page = write_replay(result, tmp_path / "replay.html").read_text()
    for words in ("118 (110 to 125)", "100 (90 to 110)", "18 (10 to 25)", "1.2 (0.0 to 3.0)", "50 %", "2 of 2"):
        assert words in page, words
    assert "remaining_share 0.05, certainty 0.8" in page
    assert page.count("hits still to be found, in truth") == 2
