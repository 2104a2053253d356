"""The backtest gate: real labels pass, shuffled ones are refused, few hits are told as such."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from materia.campaign import plan, require_worth
from materia.cli._app import app
from materia.data import Dataset
from materia.errors import CampaignError, MateriaError
from materia.resources import resource
from materia.simulation import engine

SMALL = {
    "version": 1,
    "name": "gate",
    "data": "shipped",
    "space": {"elements": ["Zn", "Ga", "S", "As"], "prototypes": ["zincblende", "rocksalt"], "arity": [2, 2]},
    "objectives": [{"quantity": "gap_pbe", "window": [2.0, 6.0]}],
    "surrogate": {"members": 2, "epochs": 4},
    "search": {"batch": 12, "rounds": 2},
    "ladder": {"level": "rough", "recipes": ["relax", "gap"]},
    "compute": {"energy": {"node_power_w": 200, "pue": 1.5, "co2e_kg_per_kwh": 0.3}},
}


def write(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return path


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped dataset with its labels dealt out anew: nothing can be learned from it."""
    folder = tmp_path_factory.mktemp("shuffled")
    entries = Dataset.load(resource("data/dataset")).computed
    order = np.random.default_rng(1).permutation(len(entries))
    dealt = tuple(replace(e, labels=entries[k].labels) for e, k in zip(entries, order, strict=True))
    Dataset(dealt, {"name": "shuffled"}).save(folder)
    return folder


def test_real_labels_pass(tmp_path: Path) -> None:
    found = plan(write(tmp_path / "c.yaml"), tmp_path / "out", seeds=6, jobs=1)
    assert found["hits"] >= 20
    assert found["acceleration"]["low"] > 1
    assert found["verdict"] == "go"
    assert found["picks"] == 24
    require_worth(found)
    assert json.loads((tmp_path / "out" / "plan.json").read_text()) == found
    cost = found["cost"]
    if "unknown" not in cost:  # the engine is installed
        assert cost["cpu_hours"] == pytest.approx(24 * cost["cpu_s_pick"] / 3600, rel=0.01)
        assert cost["kwh"] == pytest.approx(cost["node_hours"] * 0.2 * 1.5, abs=2e-4)  # node_hours are rounded to 0.001
        assert cost["co2e_kg"] == pytest.approx(cost["kwh"] * 0.3)


def test_a_gaussian_process_is_played_as_one(tmp_path: Path, shuffled: Path) -> None:
    surrogate = {"readout": "gaussian_process"}
    found = plan(write(tmp_path / "c.yaml", surrogate=surrogate), tmp_path / "out", seeds=6, jobs=1)
    assert found["acceleration"]["low"] > 1
    assert found["verdict"] == "go"
    wrong = write(tmp_path / "shuffled.yaml", surrogate=surrogate, data=str(shuffled))
    assert plan(wrong, tmp_path / "wrong", seeds=6, jobs=1)["verdict"] == "refused"


@pytest.mark.slow
def test_shuffled_labels_are_refused_unless_somebody_says_why(tmp_path: Path, shuffled: Path) -> None:
    required = {**SMALL["search"], "plan": "required"}  # type: ignore[dict-item]
    file, folder = write(tmp_path / "c.yaml", data=str(shuffled), search=required), tmp_path / "out"
    arguments = ["plan", str(file), "--folder", str(folder), "--seeds", "6", "--jobs", "1", "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert isinstance(answer.exception, CampaignError)
    assert "the interval includes 1" in str(answer.exception)
    found = json.loads(answer.stdout)
    assert found["verdict"] == "refused"
    assert found["acceleration"]["low"] <= 1
    assert "override" not in json.loads((folder / "plan.json").read_text())
    answer = CliRunner().invoke(app, ["run", str(file), "--folder", str(folder)])
    assert isinstance(answer.exception, MateriaError)  # without an engine for its own reason
    assert not (folder / "campaign.yaml").exists()
    if engine("gpaw").capabilities().available:
        assert "which includes 1" in str(answer.exception)
    answer = CliRunner().invoke(app, [*arguments, "--override", "a test of the gate"])
    assert answer.exit_code == 0
    kept = json.loads((folder / "plan.json").read_text())
    assert kept["verdict"] == "overridden"
    assert kept["override"]["reason"] == "a test of the gate"
    assert kept["override"]["who"]


@pytest.mark.parametrize("data", ["shipped", None])
def test_few_hits_are_no_evidence(tmp_path: Path, data: str | None) -> None:
    window = [{"quantity": "gap_pbe", "window": [1.0, 1.1]}]
    file = write(tmp_path / "c.yaml", objectives=window, data=data)
    answer = CliRunner().invoke(app, ["plan", str(file), "--folder", str(tmp_path / "out")], catch_exceptions=False)
    assert answer.exit_code == 0
    assert "cannot tell" in answer.stdout
    kept = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert kept["verdict"] == "unknown"
    assert kept["picks"] == 12
    assert kept["exploration"]["exploration"] == 1.0
    assert kept["level"]["name"] == "rough"
    assert kept["level"]["expected_error"]["against"] == "level strict"
    assert "level rough differs from level strict" in " ".join(answer.stdout.split())
