"""What a campaign cost, from its record, by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from materia.compute import cost_of
from materia.record import AttemptRecord, CampaignRecord, JobRecord, Outcome, OutcomeKind, Resources
from materia.report import _costs as costs
from materia.report import totals, write_report
from record_factory import make_record

ASKED = Resources(cores=1, memory_mb=1000, walltime_s=7200)
GRANTED = {"cores": 1, "memory_mb": 1000}
NODE = {
    "name": "slurm mine",
    "cores": 4,
    "memory_mb": 8000,
    "energy": {"node_power_w": 400, "pue": 1.5, "co2e_kg_per_kwh": 0.5},
}


def _run(number: int, kind: OutcomeKind, wall_s: float) -> AttemptRecord:
    return AttemptRecord(number, ASKED, kind, wall_s, wall_s / 2, 250.0, GRANTED, "slurm mine")


@pytest.fixture
def record(tmp_path: Path) -> CampaignRecord:
    """Two jobs: one hour, completed; one hour timed out, then two hours, completed. One is a hit."""
    done = Outcome("b", OutcomeKind.COMPLETED, wall_s=7200, attempt=2)
    features = {"estimate_s": 1800.0, "predicted_s": 3600.0, "predicted_mb": 125.0, "learned_from": 12.0}
    jobs = (
        JobRecord(
            "a", "A/relax", "done", 1, features, replace(done, key="a"), "", (_run(1, OutcomeKind.COMPLETED, 3600),)
        ),
        JobRecord(
            "b",
            "B/gap",
            "done",
            2,
            {**features, "learned_from": 0.0},
            done,
            "",
            (_run(1, OutcomeKind.TIMEOUT, 3600), _run(2, OutcomeKind.COMPLETED, 7200)),
        ),
        JobRecord("c", "C/gap", "done", 0, features, replace(done, key="c")),
    )
    made = make_record(tmp_path / "run")
    hits = {row["candidate_id"] for row in made.ranking if row["hit"] and row["status"] == "computed"}
    ranking = [{**row, "hit": row["hit"] and row["candidate_id"] == min(hits)} for row in made.ranking]
    return replace(made, jobs=jobs, ranking=ranking, meta={**made.meta, "node": NODE})


def test_all_attempts_count_and_hits_share_all_of_it(record: CampaignRecord) -> None:
    """Four hours on one of four cores: a node-hour; at 400 W and PUE 1.5, 0.6 kWh; 0.3 kg."""
    told = totals(record)
    assert told["attempts"] == 3
    assert told["core_hours"] == pytest.approx(4)
    assert told["node_hours"] == pytest.approx(1)
    assert told["kwh"] == pytest.approx(0.6)
    assert told["co2e_kg"] == pytest.approx(0.3)
    assert told["hits"] == 1
    assert told["per_hit"] == {k: told[k] for k in ("core_hours", "node_hours", "kwh", "co2e_kg")}
    assert told["over_asked"]["idle_core_hours"] == pytest.approx(2)
    assert told["over_asked"]["walltime_asked_over_used"] == pytest.approx(6 / 4)
    assert told["over_asked"]["memory_asked_over_peak"] == pytest.approx(4)


def test_the_sum_of_the_jobs_is_the_whole(record: CampaignRecord) -> None:
    node = costs.node_of(record)
    parts = [cost_of(job.runs, node).kwh(node.energy) or 0.0 for job in record.jobs]
    assert sum(parts) == pytest.approx(totals(record)["kwh"])
    assert [row["electricity"] for row in costs.jobs(record)] == ["150 Wh", "450 Wh", "–"]
    assert [row["co2e"] for row in costs.jobs(record)] == ["75.0 g", "225 g", "–"]
    assert [row["node_hours"] for row in costs.jobs(record)] == ["0.250", "0.750", "–"]


def test_tiles_and_recipes(record: CampaignRecord) -> None:
    tiles = {tile["label"]: (tile["value"], tile["note"]) for tile in costs.tiles(record)}
    assert tiles["calculations"] == ("3", "1 started again, 1 taken over from earlier work, at no cost")
    assert tiles["core-hours allocated"] == ("4.00", "50 % used, 25 % in failed attempts")
    assert tiles["node-hours allocated"][0] == "1.00"
    assert (tiles["electricity"][0], tiles["CO₂e"][0]) == ("600 Wh", "300 g")
    assert [row["each"] for row in costs.per_hit(record)] == ["4.00", "1.00", "600 Wh", "300 g"]
    relax, gap = costs.recipes(record)
    assert (relax["n"], relax["predicted"], relax["used"], relax["asked"]) == ("1", "60.0 min", "60.0 min", "2.0 h")
    assert (relax["times"], relax["memory_times"], relax["learned"], gap["learned"]) == ("2.0 ×", "4.0 ×", "1", "0")
    assert gap["times"] == "1.0 ×"


def test_figures_place_predicted_and_used(record: CampaignRecord) -> None:
    drawn = str(costs.time_figure(record))
    assert "A/relax: predicted 60.0 min, used 60.0 min, asked for 2.0 h" in drawn
    assert "B/gap: predicted 60.0 min, used 2.0 h" in drawn
    assert "C/gap" not in drawn
    assert "median of used over predicted 1.50" in drawn
    assert "predicted 125 MB, peak 250 MB, asked for 1000 MB" in costs.memory_figure(record)
    only_failed = replace(record, jobs=(replace(record.jobs[1], runs=record.jobs[1].runs[:1]),))
    assert 'class="dot bad cross"' in costs.time_figure(only_failed)
    assert costs.time_figure(replace(record, jobs=())) == ""


def test_the_page_states_its_factors_and_what_it_cannot_count(record: CampaignRecord, tmp_path: Path) -> None:
    def said(record: CampaignRecord) -> str:
        text = write_report(record, tmp_path / "page.html").read_text(encoding="utf-8")
        return re.sub(r"\s+", " ", text)

    page = said(record)
    assert "Node of slurm mine: 4 cores, 8000 MB, 400 W; PUE 1.5; 0.5 kg CO₂e per kWh." in page
    assert "not counted" not in page
    bare = said(replace(record, meta={**record.meta, "node": {"name": "slurm x", "cores": 4}}))
    assert "node-hours allocated</dt><dd>1.00" in bare
    assert "not counted: kWh: the node" in bare
    assert "electricity</dt>" not in bare
    assert "unknown name: nothing known" in said(replace(record, meta={"started": None}))
