"""Writing run specs into an MLflow store, each exactly once by key, whatever was interrupted before."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from materia.record import redacted
from materia.tracking._errors import TrackingError
from materia.tracking._model import log_model
from materia.tracking._spec import DatasetSpec, RunSpec

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "materia.key"
DIGEST_TAG = "materia.digest"
CHANGED_TAG = "materia.changed_settings"
_LONGEST_VALUE = 500  # accepted by every store, hosted ones included
_LONGEST_KEY = 250
_BATCH = 100
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_\-. /:]")


class Store:
    """An experiment in an MLflow store.

    Args:
        uri: tracking URI, secrets included.
        experiment: name; made if missing.
        artifacts: where artifacts of a new experiment lie; ``None`` leaves it to the server.

    Raises:
        TrackingError: the store cannot be reached, or the experiment was deleted there.
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path | None = None) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.shown_uri: str = redacted(uri)
        try:
            self.client: MlflowClient = MlflowClient(tracking_uri=uri, registry_uri=uri)
            found = self.client.get_experiment_by_name(experiment)
        except Exception as error:  # drivers and transports raise their own types
            raise TrackingError(
                f"the MLflow store cannot be opened: {redacted(str(error)).splitlines()[0]}",
                where=self.shown_uri,
                remedy="check tracking.uri and that the server runs; the campaign itself does not need it",
            ) from error
        if found is not None and found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"the MLflow experiment {experiment!r} was deleted",
                where=self.shown_uri,
                remedy="restore it (mlflow experiments restore) or name another in tracking.experiment",
            )
        if found is not None:
            self.experiment_id: str = found.experiment_id
            return
        try:
            location = None if artifacts is None else artifacts.resolve().as_uri()
            # without its kind, MLflow's page takes the experiment for a language model's
            tags = {"mlflow.experimentKind": "custom_model_development"}
            self.experiment_id = self.client.create_experiment(experiment, location, tags)
        except MlflowException:  # another campaign made it meanwhile
            found = self.client.get_experiment_by_name(experiment)
            if found is None:
                raise
            self.experiment_id = found.experiment_id

    def open(self, spec: RunSpec) -> str:
        """The id of the run of ``spec.key``, made empty if missing; :meth:`put` fills it."""
        return str(self._found_or_made(spec, None).info.run_id)

    def put(self, spec: RunSpec, parent: str | None = None) -> str:
        """Make the run of ``spec.key`` hold what ``spec`` says; its id.

        A run already up to date is left alone. The digest is written last, so an interrupted call is
        completed by the next one.
        """
        run = self._found_or_made(spec, parent)
        run_id: str = run.info.run_id
        if run.data.tags.get(DIGEST_TAG) == spec.digest:
            return run_id
        self._write_params(run_id, run.data.params, spec.params)
        self._write_metrics(run_id, run.data.metrics, spec)
        self._write_tags(run_id, spec.tags)
        for dataset in spec.datasets:
            self._write_dataset(run_id, dataset)
        self._write_files(run_id, spec)
        if spec.model is not None:
            log_model(self.client, self.experiment_id, run_id, f"{spec.key}/model", spec.model)
        self._write_status(run_id, spec)
        self._write_tags(run_id, {DIGEST_TAG: spec.digest})
        return run_id

    def _found_or_made(self, spec: RunSpec, parent: str | None) -> Any:
        """A run is made with its key in one request: there is no moment at which it has none."""
        found = self.client.search_runs(
            [self.experiment_id], f"tags.`{KEY_TAG}` = '{spec.key}'", order_by=["attributes.start_time"]
        )
        if found:
            return found[0]
        tags = {KEY_TAG: spec.key, "mlflow.source.name": "materia"}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        return self.client.create_run(self.experiment_id, start_time=spec.start_ms, run_name=spec.name, tags=tags)

    def _write_params(self, run_id: str, present: Mapping[str, str], params: Mapping[str, str]) -> None:
        """Params cannot change in MLflow: those that would are named in a tag; campaign.yaml is current."""
        from mlflow.entities import Param

        wanted = {cut_key(k): cut_value(v) for k, v in params.items()}
        changed = sorted(k for k, v in wanted.items() if k in present and present[k] != v)
        new = [Param(k, v) for k, v in wanted.items() if k not in present]
        for start in range(0, len(new), _BATCH):
            self.client.log_batch(run_id, params=new[start : start + _BATCH])
        if changed:
            self._write_tags(run_id, {CHANGED_TAG: json.dumps(changed)})

    def _write_metrics(self, run_id: str, present: Mapping[str, float], spec: RunSpec) -> None:
        """Only points the history lacks, so that no projection repeats one."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        last: dict[tuple[str, int], float] = {}
        for name in sorted({cut_key(m[0]) for m in spec.metrics} & set(present)):
            history = self.client.get_metric_history(run_id, name)
            last |= {(name, p.step): p.value for p in sorted(history, key=lambda p: int(p.timestamp))}
        new = [
            Metric(cut_key(name), value, now, step)
            for name, value, step in spec.metrics
            if last.get((cut_key(name), step)) != value
        ]
        for start in range(0, len(new), _BATCH):
            self.client.log_batch(run_id, metrics=new[start : start + _BATCH])

    def _write_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(cut_key(k), v[:5000]) for k, v in tags.items()]
        for start in range(0, len(entries), _BATCH):
            self.client.log_batch(run_id, tags=entries[start : start + _BATCH])

    def _write_dataset(self, run_id: str, dataset: DatasetSpec) -> None:
        """MLflow's digest field holds 36 characters: the full one goes into the profile and the source."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = {"n": dataset.n, "targets": list(dataset.targets), "sha256": dataset.digest}
        source = {"uri": dataset.source or dataset.name, "sha256": dataset.digest}
        entity = Dataset(
            name=dataset.name,
            digest=dataset.digest[:36],
            source_type="local",
            source=json.dumps(source),
            profile=json.dumps(profile),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        self.client.log_inputs(run_id, datasets=[DatasetInput(entity, tags)])

    def _write_files(self, run_id: str, spec: RunSpec) -> None:
        with tempfile.TemporaryDirectory(prefix="materia-") as folder:
            for name, content in spec.files.items():
                data = content() if callable(content) else content
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.encode() if isinstance(data, str) else data)
            if spec.files:
                self.client.log_artifacts(run_id, folder)
        if spec.tables:
            entries = [{"path": path, "type": "table"} for path in spec.tables]
            self._write_tags(run_id, {"mlflow.loggedArtifacts": json.dumps(entries)})

    def _write_status(self, run_id: str, spec: RunSpec) -> None:
        if spec.status == "RUNNING":
            self.client.update_run(run_id, status="RUNNING", name=spec.name)
        else:
            self.client.set_terminated(run_id, spec.status, spec.end_ms)


def cut_key(key: str) -> str:
    """A name every store accepts."""
    return _NOT_ALLOWED.sub("_", key).lstrip("/")[:_LONGEST_KEY]


def cut_value(value: str) -> str:
    """A parameter value every store accepts; the whole of it is in the settings file beside it."""
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"


def set_aside_if_moved(database: Path, experiment: str, artifacts: Path) -> bool:
    """MLflow keeps absolute addresses: a store that was moved or copied would write to where it came from.

    Such a store is renamed to ``mlflow-before-move.db``; everything in it is written anew from the record.

    Args:
        database: SQLite file.
        experiment: name of the experiment.
        artifacts: where its artifacts lie now.

    Returns:
        Whether it was.
    """
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            query = "SELECT artifact_location FROM experiments WHERE name = ?"
            row = connection.execute(query, (experiment,)).fetchone()
    except sqlite3.DatabaseError:
        return False  # MLflow says what is wrong with it
    if row is None or row[0] == artifacts.resolve().as_uri():
        return False
    database.replace(database.with_name("mlflow-before-move.db"))
    return True
