"""Against a real MLflow server on loopback: the same campaign, and the page a person sees."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from browser_page import look
from materia.tracking import TrackingSettings, track
from record_factory import make_record


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(_empty_store.read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait(uri, process, folder / "server.log")
        yield uri
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def _wait(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"the MLflow server did not start:\n{log.read_text()[-2000:]}")


def test_server_holds_the_same_as_a_file(server: str, tmp_path: Path, prepared: Callable[[Path], Path]) -> None:
    record = make_record(tmp_path / "run")
    settings = TrackingSettings(uri=server, experiment="one")
    result = track(record, settings)
    assert track(record, settings) == result
    assert result.command.startswith(f"{server}/#/experiments/")
    there = MlflowClient(server)
    here = MlflowClient(track(record, TrackingSettings(uri=f"sqlite:///{prepared(tmp_path / 'own.db')}")).uri)

    def held(client: MlflowClient, experiment: str) -> dict:
        found = client.get_experiment_by_name(experiment)
        runs = client.search_runs([found.experiment_id])
        return {r.data.tags["materia.key"]: (r.info.status, r.data.params, r.data.metrics) for r in runs}

    assert held(there, "one") == held(here, "absorbers")
    assert not (tmp_path / "run" / "mlflow.db").exists()
    table = Path(there.download_artifacts(result.run_id, "ranking.csv", dst_path=str(tmp_path)))
    assert table.read_text().count("\n") == len(record.ranking) + 1


@pytest.mark.browser
def test_page_shows_the_campaign(server: str, tmp_path: Path) -> None:
    record = make_record(tmp_path / "run")
    result = track(record, TrackingSettings(uri=server, experiment="seen"))
    seen = look(result.command, tmp_path / "mlflow.png", width=1400, height=1300, wait_ms=20_000)
    assert "absorbers" in seen.dom
    assert "10 candidates computed with DFT, 7 hits" in seen.dom
    assert "materia-standard" in seen.dom
    assert seen.screenshot.stat().st_size > 20_000
