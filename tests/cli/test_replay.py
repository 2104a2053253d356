"""``materia replay`` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from materia.cli._app import app
from materia.data import Dataset
from materia.resources import resource

FILE = {
    "version": 1,
    "name": "small",
    "data": {"dataset": "shipped"},
    "objectives": [{"quantity": "gap_pbe", "window": [0.6, 1.2]}],
    "constraints": [{"quantity": "energy_above_hull", "below": 0.05}],
    "start": 12,
    "batch": 10,
    "seeds": 2,
    "strategies": [
        {"name": "random", "learner": "none", "search": {"acquisition": "random"}},
        {"name": "forest", "learner": "forest", "options": {"trees": 5}},
    ],
}


def test_replay_prints_json_writes_a_page_and_resumes(tmp_path: Path) -> None:
    config, folder = tmp_path / "small.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(FILE))
    arguments = ["replay", str(config), "--folder", str(folder), "--jobs", "1"]
    first = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert first.exit_code == 0
    found = json.loads(first.stdout)
    assert found["goal"]["pool"] == len(Dataset.load(resource("data/dataset")).computed)
    assert set(found["strategies"]) == {"random", "forest"}
    assert {"value", "low", "high"} == set(found["strategies"]["forest"]["acceleration"])
    kept = sorted((folder / "runs").glob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 4
    page = (folder / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count("<svg") >= 3
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert again.exit_code == 0
    assert "acceleration" in again.stdout
    assert [path.stat().st_mtime_ns for path in kept] == stamps  # nothing was run twice
    assert json.loads((folder / "result.json").read_text())["strategies"] == found["strategies"]


def test_a_name_in_a_replay_file_is_escaped_on_the_page(tmp_path: Path) -> None:
    from materia.report._replay import _view
    from materia.report._write import fill
    from materia.search import Conditions
    from materia.search.replay import KnownPool, ReplaySettings, play, summarise

    settings = ReplaySettings.model_validate({**FILE, "strategies": FILE["strategies"][:1]})  # type: ignore[index]
    pool = KnownPool.load(settings.data, Conditions(settings.objectives, settings.constraints))
    runs = [play(pool, settings, settings.strategies[0], seed) for seed in (0, 1)]
    result = {**summarise(pool, settings, runs), "name": "<script>alert(1)</script>"}
    assert "<script>alert" not in fill("replay.html.j2", _view(result))
