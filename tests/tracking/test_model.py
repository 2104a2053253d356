"""The stored surrogate: loaded back through MLflow it predicts what it predicted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from mlflow import MlflowClient

from materia.crystal import Crystal
from materia.record import CampaignRecord
from materia.surrogate import Example, Surrogate, SurrogateSettings, train
from materia.tracking import TrackingSettings, track
from record_factory import make_record

TARGETS = ("formation_energy_per_atom", "gap_pbe")


def _crystals() -> list[Crystal]:
    pairs = [("Al", "P"), ("Al", "Sb"), ("Zn", "S"), ("Zn", "Te"), ("Ga", "As"), ("Ga", "P"), ("In", "P"), ("B", "N")]
    return [Crystal.from_ase(bulk(a + b, "zincblende", a=5.0 + 0.15 * k)) for k, (a, b) in enumerate(pairs)]


@pytest.fixture(scope="module")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surrogate")
    settings = SurrogateSettings(pretrained=None, channels=4, layers=1, members=2, epochs=1, device="cpu")
    examples = [Example(c, dict.fromkeys(TARGETS, 0.1 * k), c.formula) for k, c in enumerate(_crystals())]
    train(examples, targets=TARGETS, settings=settings, folder=folder, seed=0, progress=False)
    return folder


@pytest.fixture
def record(tmp_path: Path, prepared: Callable[[Path], Path], surrogate: Path) -> CampaignRecord:
    prepared(tmp_path / "run" / "mlflow.db")
    made = make_record(tmp_path / "run", n_rounds=2, surrogate=surrogate)
    (tmp_path / "run" / "models" / "1" / "predictions.npz").write_bytes(b"not part of the model")
    return made


def _models(client: MlflowClient) -> list:
    experiment = client.get_experiment_by_name("absorbers")
    return list(client.search_logged_models([experiment.experiment_id]))


def test_last_model_predicts_as_before(record: CampaignRecord, surrogate: Path) -> None:
    result = track(record)
    client = MlflowClient(result.uri)
    (stored,) = _models(client)
    (training,) = [
        r
        for r in client.search_runs([stored.experiment_id])
        if r.outputs and [m.model_id for m in r.outputs.model_outputs] == [stored.model_id]
    ]
    assert training.info.run_name == "training 1"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(result.uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{stored.model_id}")
    finally:
        mlflow.set_tracking_uri(before)
    table = pd.DataFrame({"structure": [json.dumps(c.to_record()) for c in _crystals()[:3]]})
    found = model.predict(table)
    expected = Surrogate.load(surrogate).predict(_crystals()[:3])
    for target in TARGETS:
        mean, std = expected.column(target)
        np.testing.assert_allclose(found[target], mean, rtol=1e-6)
        np.testing.assert_allclose(found[f"{target}_std"], std, rtol=1e-6)
    assert list(found.columns) == [c.name for c in model.metadata.signature.outputs]
    with pytest.raises(mlflow.exceptions.MlflowException, match="structure"):
        model.predict(pd.DataFrame({"formula": ["GaAs"]}))


@pytest.mark.filterwarnings("error")
def test_storing_a_model_says_nothing(record: CampaignRecord, capfd: pytest.CaptureFixture[str]) -> None:
    track(record)
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_stored_without_pickle_and_without_the_pool(record: CampaignRecord) -> None:
    result = track(record)
    (stored,) = _models(MlflowClient(result.uri))
    root = Path(stored.artifact_location.removeprefix("file://"))
    names = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert {n for n in names if n.startswith("artifacts/")} == {
        "artifacts/surrogate/weights.safetensors",
        "artifacts/surrogate/card.json",
    }
    assert not [n for n in names if n.endswith((".pkl", ".pickle", ".pt", ".pth"))]


@pytest.mark.parametrize(("wanted", "n"), [("none", 0), ("last", 1), ("all", 2)])
def test_which_models_are_stored_and_once(record: CampaignRecord, wanted: str, n: int) -> None:
    settings = TrackingSettings(models=wanted)
    for _ in range(2):
        assert len(_models(MlflowClient(track(record, settings).uri))) == n


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "died_in",
    ["log_model_artifacts", pytest.param("finalize_logged_model", marks=SLOW), pytest.param("log_outputs", marks=SLOW)],
)
def test_an_upload_cut_off_is_made_good(record: CampaignRecord, monkeypatch: pytest.MonkeyPatch, died_in: str) -> None:
    class Killed(BaseException):
        pass

    def killed(*args: object, **kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, died_in, killed)
        with pytest.raises(Killed):
            track(record)
    result = track(record)
    client = MlflowClient(result.uri)
    (stored,) = _models(client)
    assert stored.status == "READY"
    outputs = [
        m.model_id for r in client.search_runs([stored.experiment_id]) if r.outputs for m in r.outputs.model_outputs
    ]
    assert outputs == [stored.model_id]
