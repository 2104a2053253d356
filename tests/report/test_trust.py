"""What the report says about intervals: on the picks, counted by hand, and about a pool that drifts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from materia.record import CampaignRecord, Round
from materia.report._trust import picks_coverage, pool_drift, strata
from record_factory import make_record


def row(round_: int, predicted: tuple[float, float], value: float, status: str = "computed") -> dict[str, Any]:
    mean, std = predicted
    return {
        "status": status,
        "round": round_,
        "predictions": {"gap_pbe": {"mean": mean, "std": std}},
        "values": {"gap_pbe": value},
    }


@pytest.fixture
def record(tmp_path: Path) -> CampaignRecord:
    return make_record(tmp_path / "campaign")


def test_the_picks_inside_their_interval_are_counted_by_round(record: CampaignRecord) -> None:
    rows = [
        row(0, (1.0, 0.1), 1.16),  # 1.6 standard deviations: inside
        row(0, (1.0, 0.1), 1.17),  # 1.7: outside
        row(1, (1.0, 0.5), 0.2),  # 1.6 below: inside
        row(1, (1.0, 0.1), 5.0, status="failed"),
        {**row(1, (1.0, 0.1), 1.0), "values": {}},
        row(1, (0.3, 0.0), 0.3),  # a table's value, not a prediction
    ]
    (found,) = picks_coverage(replace(record, ranking=rows))
    assert found["rounds"] == [(0, 1, 2), (1, 1, 1)]
    assert (found["inside"], found["n"]) == (2, 3)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"pool_shift": 0.83, "pool_alarm": 1.0}, "than 83 % of their left-out formulas"),
        ({"pool_shift": 0.52, "pool_alarm": 0.0}, "No sign that the pool differs"),
        ({}, ""),
    ],
)
def test_the_last_surrogate_speaks_of_the_pool(record: CampaignRecord, metrics: dict[str, float], words: str) -> None:
    rounds = (Round(0, "closed", 20, {"pool_shift": 0.99, "pool_alarm": 1.0}), Round(1, "open", 24, metrics))
    said = pool_drift(replace(record, rounds=rounds if metrics else (Round(0, "open", 20),)))
    assert words in said
    assert bool(said) == bool(words)


def test_parts_of_the_left_out_formulas_are_shown_apart(record: CampaignRecord) -> None:
    """Of forty formulas thirty are predicted inside the window of 1 to 2 eV, and 27 of these intervals hold."""
    inside = [True] * 27 + [False] * 3 + [True] * 10
    parity = {"observed": [1.5] * 40, "predicted": [1.4] * 30 + [3.0] * 10, "inside": inside}
    divisions = {"family": {"oxides": {"n": 100, "mae": 0.3, "coverage_90": 0.6}, "iodides": {"n": 25, "mae": 0.2}}}
    card = {"strata": {"gap_pbe": divisions}, "parity": {"gap_pbe": parity}}
    asked = {"objectives": [{"quantity": "gap_pbe", "window": [1.0, 2.0]}]}
    (found,) = strata(replace(record, models=(card,), settings=asked))
    rows = {row["name"]: row for row in found["rows"]}
    assert (rows["predicted inside the window"]["n"], rows["predicted inside the window"]["coverage"]) == ("30", "90 %")
    assert rows["oxides"]["bad"] and not rows["predicted inside the window"]["bad"]
    assert rows["iodides"]["coverage"] == "–"
    assert strata(replace(record, models=())) == []
