"""Searching settings: what is searched, what a score is, a search that is killed, shared and kept in MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import materia
from labelled_file import QUANTITY, compounds, write_labelled
from materia.campaign import make_settings, tune
from materia.campaign._tune_folds import relative_error
from materia.campaign._tune_space import Between, OneOf, default_space, read_dimension
from materia.campaign._tune_study import STUDY, open_study, read_trials
from materia.errors import ConfigError
from materia.quantities import GAP_PBE, IS_METAL, SHEAR_MODULUS, Form
from materia.surrogate import Example, Predictions, SurrogateSettings
from materia.tracking import TrackingSettings
from surrogate_factory import rocksalt

SEARCH = ("learning_rate=0.0001:0.01:log", "batch_size=4,8")


def settings(**more: Any) -> SurrogateSettings:
    tiny = {"channels": 8, "layers": 1, "cutoff": 4.0, "replicas": 1, "epochs": 3, "batch_size": 8, "device": "cpu"}
    return make_settings({**tiny, **more}, None)


def search(folder: Path, data: Path, **more: Any) -> Any:
    asked = {"settings": settings(), "search": SEARCH, "trials": 3, "folds": 2, **more}
    return tune(data, ["stiffness=K_GPa"], folder, quantities=[QUANTITY], start=None, **asked)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_labelled(tmp_path / "data.jsonl", bad=False)


def test_dimensions_are_read() -> None:
    assert read_dimension("strain=0:0.02") == ("strain", Between(low=0, high=0.02))
    assert read_dimension("epochs=5:50:log") == ("epochs", Between(low=5, high=50, log=True))
    assert read_dimension("ema=0.98, 0.99") == ("ema", OneOf(values=(0.98, 0.99)))


@pytest.mark.parametrize(
    "text", ["strain=0.02:0.01", "strain=0:1:log", "strain=", "strain=1:2:cubic", "strain=a:b", "stain=0:1"]
)
def test_what_is_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_dimension(text)


def test_what_the_user_fixes_is_not_searched() -> None:
    assert "strain" not in default_space("base", ["strain"])
    assert "trunk_rate" in default_space("base", [])
    assert {"channels", "layers"} <= set(default_space(None, []))


def test_a_score_is_the_error_over_that_of_the_training_median() -> None:
    crystal = rocksalt("Na", "Cl", 5.6)

    def example(gap: float, modulus: float, metal: float) -> Example:
        return Example(crystal, {GAP_PBE: gap, SHEAR_MODULUS: modulus, IS_METAL: metal}, "NaCl")

    seen = [example(1.0, 10.0, 0.0), example(2.0, 100.0, 1.0), example(9.0, 1000.0, 0.0), example(2.0, 100.0, 1.0)]
    held = [example(4.0, 10.0, 1.0), example(1.0, 1000.0, 0.0)]
    mean = np.array([[3.0, 100.0, 0.9], [1.5, 1000.0, 0.4]])
    predicted = Predictions(
        (GAP_PBE, SHEAR_MODULUS, IS_METAL),
        mean,
        np.ones_like(mean),
        np.zeros((2, 1), np.float32),
        np.ones(2, bool),
        forms=(Form.SCALAR, Form.LOG, Form.CLASS),
    )
    forms = {GAP_PBE: Form.SCALAR, SHEAR_MODULUS: Form.LOG, IS_METAL: Form.CLASS}
    gap = (1.0 + 0.5) / (2.0 + 1.0)  # the median is 2
    modulus = (1.0 + 0.0) / (1.0 + 1.0)  # in decades, the median is 100
    metal = (0.1**2 + 0.4**2) / (0.5**2 + 0.5**2)  # half of them are
    assert relative_error(predicted, held, seen, forms) == pytest.approx((gap + modulus + metal) / 3)


def test_a_search_ends_with_the_best_settings_and_its_runs(tmp_path: Path, data: Path) -> None:
    from mlflow import MlflowClient

    reports: list[int] = []
    found = search(tmp_path / "study", data, report=lambda trials, wanted: reports.append(len(trials)))
    assert [t.state for t in found.trials] == ["complete"] * 3
    assert found.trials[0].settings == {"learning_rate": 4e-3, "batch_size": 8}, "the settings as given come first"
    assert found.default_score == found.trials[0].score
    assert found.score == min(t.score for t in found.trials) <= found.default_score
    assert found.score == pytest.approx(np.mean(min(found.trials, key=lambda t: t.score).folds))
    assert yaml.safe_load((tmp_path / "study/best.yaml").read_text()) == dict(found.best)
    assert reports[-1] == 3
    assert json.dumps(found.to_json())

    client = MlflowClient(f"sqlite:///{tmp_path / 'study/mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tune"]
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(runs) == 4
    assert parents[0].data.metrics["best_score"] == pytest.approx(found.score)
    assert {r.data.params["batch_size"] for r in runs if r not in parents} <= {"4", "8"}

    again = search(tmp_path / "study", data)
    assert again.trials == found.trials, "there is nothing left to do"
    more = tune(None, (), tmp_path / "study", trials=4)
    assert len(more.trials) == 4
    assert more.trials[:3] == found.trials
    with pytest.raises(ConfigError, match="another search"):
        search(tmp_path / "study", data, folds=3)


def test_a_tracking_server_that_is_away_does_not_stop_the_search(tmp_path: Path, data: Path) -> None:
    away = TrackingSettings(uri=f"sqlite:///{tmp_path / 'no/such/folder/mlflow.db'}")
    (tmp_path / "no").write_text("a file where a folder should be")
    found = search(tmp_path / "study", data, trials=1, tracking=away)
    assert found.best
    assert found.tracking is None
    assert "not tracked" in found.untracked


@pytest.mark.slow
def test_a_killed_search_goes_on_and_two_processes_share_it(tmp_path: Path, data: Path) -> None:
    """SIGKILL in the middle of a trial: its settings are taken up again, and no trial is lost or counted twice."""
    folder = tmp_path / "study"
    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from pathlib import Path; from test_tune import search, settings\n"
        "search(Path(sys.argv[1]), Path(sys.argv[2]), settings=settings(epochs=100))"
    )
    tests = Path(__file__).parent
    source = str(Path(materia.__file__).parents[1])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([source, str(tests.parent), str(tests)])}
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(data), str(tests)], env=env)
    deadline = time.monotonic() + 120
    while not list(folder.glob("work/*/fold_0.json")):
        assert process.poll() is None and time.monotonic() < deadline, "the first fold was never finished"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = next(folder.glob("work/*/fold_0.json"))
    kept = killed.read_text()
    (left,) = read_trials(folder)
    assert left.state == "running"

    found = search(folder, data, settings=settings(epochs=100), jobs=2, trials=2)
    states = [t.state for t in found.trials]
    assert states.count("complete") >= 2, found.trials
    assert "running" not in states
    first = next(t for t in found.trials if t.settings == left.settings)
    assert first.folds[0] == float(kept), "a finished fold is not trained again"
    assert first.number != left.number
    assert left.number not in [t.number for t in found.trials]
    assert (folder / STUDY).exists()
    assert open_study(folder).user_attrs[f"left_behind_{left.number}"]


def test_too_few_structures_for_the_folds_say_so(tmp_path: Path) -> None:
    data = tmp_path / "two.jsonl"
    rows = [{"id": "a", "structure": compounds()[0].to_record(), "targets": {"K_GPa": 1.0}}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ConfigError, match="too few for 2 folds"):
        search(tmp_path / "study", data, trials=1)
