"""The projection into a real MLflow store: complete, once, and without secrets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from materia.record import CampaignRecord
from materia.tracking import TrackingError, TrackingSettings, track
from materia.tracking._store import Store
from record_factory import make_record

Prepare = Callable[[Path], Path]


def _runs(client: MlflowClient, experiment: str = "absorbers") -> list:
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], max_results=100)


def _children(client: MlflowClient, parent: str) -> dict:
    return {r.info.run_name: r for r in _runs(client) if r.data.tags.get("mlflow.parentRunId") == parent}


def _snapshot(client: MlflowClient) -> dict:
    """Everything a store holds about the campaign, run ids aside."""
    shot = {}
    for run in _runs(client):
        points = {
            name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        datasets = [(d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs]
        shot[run.data.tags["materia.key"]] = (run.info.status, run.data.params, points, datasets)
    return shot


@pytest.fixture
def record(tmp_path: Path, prepared: Prepare) -> CampaignRecord:
    prepared(tmp_path / "run" / "mlflow.db")
    return make_record(tmp_path / "run")


def test_run_tree_holds_the_campaign(record: CampaignRecord) -> None:
    result = track(record)
    client = MlflowClient(result.uri)
    parent = client.get_run(result.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["search.batch"] == "4"
    assert parent.data.params["objectives.0.window"] == "[0.7, 1.6]"
    assert set(_children(client, result.run_id)) == {f"{k} {n}" for k in ("round", "training") for n in range(3)}
    # twelve picks, of which one each failed in the second and third round
    computed = client.get_metric_history(result.run_id, "computed")
    assert [(p.step, p.value) for p in computed] == [(0, 4.0), (1, 7.0), (2, 10.0)]
    hits = [p.value for p in client.get_metric_history(result.run_id, "hits")]
    assert hits == [2.0, 4.0, 7.0]
    assert parent.data.tags["materia.campaign"] == "absorbers"
    assert parent.data.tags["materia.version.gpaw"] == "26.7.0"
    dataset = parent.inputs.dataset_inputs[0].dataset
    assert json.loads(dataset.profile)["sha256"] == record.dataset["digest"]
    assert dataset.digest == record.dataset["digest"][:36]


def test_ranked_table_reads_back(record: CampaignRecord) -> None:
    result = track(record)
    client = MlflowClient(result.uri)
    table = json.loads(Path(client.download_artifacts(result.run_id, "ranking.json")).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [r["candidate_id"] for r in rows] == [r["candidate_id"] for r in record.ranking]
    assert rows[0]["gap_pbe"] == record.ranking[0]["values"]["gap_pbe"]
    shown = json.loads(client.get_run(result.run_id).data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": "ranking.json", "type": "table"}]


def test_twice_is_once(record: CampaignRecord) -> None:
    first = track(record)
    before = _snapshot(MlflowClient(first.uri))
    second = track(record)
    assert second == first
    assert _snapshot(MlflowClient(first.uri)) == before
    assert len(before) == 7


@pytest.mark.parametrize(
    "moment", [pytest.param(1, marks=pytest.mark.slow), 5, pytest.param(14, marks=pytest.mark.slow), 27]
)
def test_interrupted_anywhere_then_repeated_gives_one_copy(
    record: CampaignRecord, tmp_path: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The process dies after its ``moment``-th write to the store; the next call ends as an undisturbed one."""
    undisturbed = track(record, TrackingSettings(uri=f"sqlite:///{prepared(tmp_path / 'other.db')}"))
    calls = 0

    class Killed(BaseException):
        pass

    def dying(name: str) -> None:
        original = getattr(MlflowClient, name)

        def wrapped(self: MlflowClient, *args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            value = original(self, *args, **kwargs)
            if calls == moment:
                raise Killed
            return value

        monkeypatch.setattr(MlflowClient, name, wrapped)

    for name in ("create_run", "log_batch", "log_artifacts", "log_inputs", "set_terminated", "update_run"):
        dying(name)
    with pytest.raises(Killed):
        track(record)
    result = track(record)
    assert _snapshot(MlflowClient(result.uri)) == _snapshot(MlflowClient(undisturbed.uri))


def test_running_campaign_grows_into_the_finished_one(tmp_path: Path, prepared: Prepare) -> None:
    prepared(tmp_path / "run" / "mlflow.db")
    running = make_record(tmp_path / "run", state="running")
    result = track(running)
    client = MlflowClient(result.uri)
    assert client.get_run(result.run_id).info.status == "RUNNING"
    assert _children(client, result.run_id)["round 2"].info.status == "RUNNING"
    finished = make_record(tmp_path / "run")
    assert track(finished).run_id == result.run_id
    assert client.get_run(result.run_id).info.status == "FINISHED"
    assert len(_children(client, result.run_id)) == 6
    assert client.get_run(result.run_id).data.metrics["computed"] == 10


def test_campaign_without_rounds(tmp_path: Path, prepared: Prepare) -> None:
    prepared(tmp_path / "run" / "mlflow.db")
    result = track(make_record(tmp_path / "run", n_rounds=0, state="running"))
    run = MlflowClient(result.uri).get_run(result.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.metrics == {"core_hours": 0.0}


def test_another_start_is_another_run(record: CampaignRecord) -> None:
    first = track(record)
    other = replace(record, meta={**record.meta, "started": "2026-04-01T00:00:00+00:00"})
    assert track(other).run_id != first.run_id


def test_secrets_stay_out(tmp_path: Path, prepared: Prepare) -> None:
    prepared(tmp_path / "run" / "mlflow.db")
    record = make_record(tmp_path / "run")
    settings = {
        **record.settings,
        "tracking": {"uri": "https://ada:hunter2@mlflow.example.org/?token=hunter2"},
        "space": {"api_key": "hunter2"},
    }
    result = track(replace(record, settings=settings))
    stored = [p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file() and p.suffix != ".yaml"]
    stored += [p.read_bytes() for p in (tmp_path / "run" / "mlartifacts").rglob("*.yaml")]
    assert stored
    assert not any(b"hunter2" in content for content in stored)
    params = MlflowClient(result.uri).get_run(result.run_id).data.params
    assert params["tracking.uri"] == "https://[redacted]@mlflow.example.org/?token=[redacted]"
    assert params["space.api_key"] == "[redacted]"


def test_long_and_odd_values_are_stored(tmp_path: Path, prepared: Prepare) -> None:
    prepared(tmp_path / "run" / "mlflow.db")
    record = make_record(tmp_path / "run", evil="<script>alert('x')</script>")
    settings = {**record.settings, "note": "Å" * 20_000, "odd key (é)": 1}
    result = track(replace(record, settings=settings))
    params = MlflowClient(result.uri).get_run(result.run_id).data.params
    assert params["note"].startswith("ÅÅÅ")
    assert len(params["note"]) == 500
    assert params["odd key ___"] == "1"


def test_unreachable_server_is_said(record: CampaignRecord) -> None:
    settings = TrackingSettings(uri="http://ada:hunter2@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"cannot be opened") as caught:
        track(record, settings)
    assert "hunter2" not in str(caught.value)
    assert "[redacted]@127.0.0.1:9" in str(caught.value)


def test_deleted_experiment_is_said(record: CampaignRecord) -> None:
    result = track(record)
    client = MlflowClient(result.uri)
    client.delete_experiment(client.get_experiment_by_name("absorbers").experiment_id)
    with pytest.raises(TrackingError, match="'absorbers' was deleted"):
        Store(result.uri, "absorbers")


def test_switched_off_writes_nothing(tmp_path: Path) -> None:
    record = make_record(tmp_path / "run", n_rounds=1)
    assert track(record, TrackingSettings(enabled=False)).run_id == ""
    assert not (record.folder / "mlflow.db").exists()


def test_a_copied_folder_keeps_to_itself(record: CampaignRecord, tmp_path: Path) -> None:
    first = track(record)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()}
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    second = track(replace(record, folder=tmp_path / "copy"))
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    client = MlflowClient(second.uri)
    assert client.get_run(second.run_id).info.artifact_uri.startswith((tmp_path / "copy").as_uri())
    mine, theirs = _snapshot(client), _snapshot(MlflowClient(first.uri))
    assert mine == theirs
    assert (tmp_path / "copy" / "mlflow-before-move.db").is_file()
