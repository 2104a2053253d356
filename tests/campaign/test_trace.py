"""Why a candidate was picked: parts that add up, neighbours, intervals; all of it from the record alone."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import materia
from browser_page import look
from instant_campaign import instant
from materia.campaign._dossier import nearest
from materia.campaign._learning import Labelled, PoolPredictions
from materia.errors import CampaignError, SpaceError
from materia.record import CampaignRecord
from materia.sustainability import supply_risk

PINNED, VETOED = "InSb-rocksalt", "ZnSe-zincblende"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> CampaignRecord:
    campaign = instant(tmp_path_factory.mktemp("traced"))
    campaign.steps(1)
    materia.pin(campaign.folder, PINNED, why="we can <b>grow</b> it", who="Ada")
    materia.veto(campaign.folder, VETOED, why="no zinc in this chamber", who="Grace")
    return campaign.finish()


def all_picks(record: CampaignRecord) -> list[str]:
    return [p.candidate_id for r in record.rounds for p in r.picks]


@pytest.mark.gpaw
def test_the_parts_of_every_score_add_up(record: CampaignRecord) -> None:
    assert len(record.dossiers) == len(all_picks(record)) == 6
    for found in record.rounds:
        for pick in found.picks:
            score = record.dossiers[pick.candidate_id]["score"]
            parts = score["parts"].values()
            assert sum(p["log"] for p in parts) == pytest.approx(score["total"]["log"], abs=1e-12)
            assert math.exp(score["total"]["log"]) == pytest.approx(score["total"]["factor"], rel=1e-12)
            assert math.prod(p["factor"] for p in parts) == pytest.approx(pick.score["total"], rel=1e-12)
    assert {d["rank"] for name, d in record.dossiers.items() if name != PINNED} == {1}


@pytest.mark.gpaw
def test_intervals_and_sustainability_are_those_of_the_pick(record: CampaignRecord) -> None:
    dossier = materia.trace(record.folder, PINNED)["dossier"]
    gap = dossier["predictions"]["gap_pbe"]
    assert gap["high"] == pytest.approx(gap["mean"] + 1.6449 * gap["std"])
    assert gap["low"] == pytest.approx(max(0.0, gap["mean"] - 1.6449 * gap["std"]))
    assert gap["wanted"] == [0.8, 2.0]
    assert gap["chance"] == pytest.approx(dossier["score"]["parts"]["p_gap_pbe"]["factor"])
    parts = dossier["sustainability"]["parts"]
    assert sum(p["mass_fraction"] for p in parts) == pytest.approx(1.0)
    assert sum(p["contribution"] for p in parts) == pytest.approx(supply_risk({"In": 1, "Sb": 1}))
    assert dossier["predictions"]["supply_risk"]["mean"] == pytest.approx(supply_risk({"In": 1, "Sb": 1}))


def test_neighbours_are_the_nearest_in_the_scaled_embedding() -> None:
    pool = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 200.0], [2.0, 200.0]], dtype=np.float32)  # std 1 and 100
    known = Labelled(
        ["dataset/a", "pick/b", "dataset/c"],
        ["A", "B", "C"],
        [{"gap_pbe": 1.0}, {}, {"gap_pbe": 3.0}],
        np.array([[1.0, 0.0], [0.0, 50.0], [0.0, 0.0]], dtype=np.float32),
    )
    found = nearest(PoolPredictions({}, pool, {}, 3, known), 0, n=2)
    assert [(n["id"], n["values"]) for n in found] == [("dataset/c", {"gap_pbe": 3.0}), ("pick/b", {})]
    assert [n["distance"] for n in found] == pytest.approx([0.0, 0.5 / math.sqrt(2)])
    assert nearest(PoolPredictions({}, pool, {}, 3), 0) == []


@pytest.mark.gpaw
def test_trace_tells_what_came_of_it(record: CampaignRecord) -> None:
    found = materia.trace(record.folder, PINNED)
    pick = found["pick"]
    value, belief = found["found"]["gap_pbe"], pick["predictions"]["gap_pbe"]
    assert value["value"] == pick["labels"][-1]["value"]
    assert value["error_in_std"] == pytest.approx((value["value"] - belief["mean"]) / belief["std"])
    assert [o["who"] for o in found["overrides"]] == ["Ada"]
    vetoed = materia.trace(record.folder, VETOED)
    assert (vetoed["picked"], vetoed["dossier"]) == (False, None)
    assert vetoed["overrides"][0]["predictions"]["gap_pbe"]["std"] > 0
    with pytest.raises(SpaceError, match="did you mean InSb-rocksalt"):
        materia.trace(record.folder, "InSb-rocksat")
    untouched = next(row for row in ("CaTe-rocksalt", "MgTe-rocksalt") if row not in all_picks(record))
    with pytest.raises(CampaignError, match="was not picked, and nobody decided"):
        materia.trace(record.folder, untouched)


@pytest.mark.gpaw
def test_the_command_prints_it(record: CampaignRecord) -> None:
    argv = [sys.executable, "-m", "materia.cli", "trace", str(record.folder), PINNED]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    for words in ("pinned by Ada", "p_gap_pbe", "dataset/", "Supply risk 0.4194", "honoured"):
        assert words in text
    plain = subprocess.run([*argv, "--json"], capture_output=True, text=True, check=True).stdout
    assert json.loads(plain) == json.loads(json.dumps(materia.trace(record.folder, PINNED)))
    status = [sys.executable, "-m", "materia.cli", "status", str(record.folder)]
    text = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    assert "pinned by people: 1 pick" in text
    assert f"veto {VETOED} by Grace" in text


@pytest.mark.gpaw
def test_the_report_is_rebuilt_from_the_record_alone(record: CampaignRecord, tmp_path: Path) -> None:
    before = (record.folder / "report" / "index.html").read_text()
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("campaign.yaml", "campaign.sqlite", "ranking.json"):
        shutil.copyfile(record.folder / name, kept / name)
    for name in ("pool", "models", "overrides"):
        shutil.copytree(record.folder / name, kept / name)
    after = materia.write_report(kept).read_text()
    assert after == before
    assert after.count("The score, part by part") == 6
    assert "Pinned by Ada" in after
    assert "we can &lt;b&gt;grow&lt;/b&gt; it" in after


@pytest.mark.gpaw
@pytest.mark.browser
def test_the_page_unfolds_it(record: CampaignRecord, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = (record.folder / "report" / "index.html").read_text()
    page.write_text(text.replace("<details", "<details open"))
    seen = look(page.as_uri(), tmp_path / "page.png", height=9000)
    assert not seen.console
    assert 'id="people"' in seen.dom
    assert seen.dom.count("Nearest labelled structures") == 6
    assert "gap 0.40 eV" in seen.dom, "labels of the neighbours"


def test_the_chemist_decides_in_a_campaign(tmp_path: Path) -> None:
    """The acquisition that looks at formulas alone is given those of the pool: no oxide while others are left."""
    space = {
        "elements": ["Mg", "Zn", "Ga", "O", "S", "Se", "As"],
        "exclude": [],
        "prototypes": ["zincblende", "rocksalt"],
    }
    search = {"rounds": 1, "batch": 3, "acquisition": "chemist", "exploration": 0}
    record = instant(tmp_path, space={**space, "arity": [2], "max_atoms": 2}, search=search).finish()
    picked = all_picks(record)
    assert len(picked) == 3
    assert not any("O" in name.split("-")[0] for name in picked), picked
