"""The one call: a campaign's record into MLflow."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from materia.record import CampaignRecord, redacted
from materia.tracking._errors import TrackingError
from materia.tracking._quiet import quiet
from materia.tracking._runs import campaign_run, round_runs, training_runs
from materia.tracking._settings import TrackingSettings
from materia.tracking._spec import RunSpec


@dataclass(frozen=True)
class TrackingResult:
    """Where a campaign is tracked.

    Attributes:
        run_id: the parent run; empty when tracking is off.
        uri: tracking URI without secrets.
        experiment: name of the experiment.
        command: opens MLflow's page on it (for a server: the run's address).
    """

    run_id: str
    uri: str
    experiment: str
    command: str


def track(record: CampaignRecord, settings: TrackingSettings | None = None) -> TrackingResult:
    """Project a campaign into MLflow: a parent run, child runs for rounds and trainings.

    Calling it again, after a crash or from a copy of the folder, brings the same runs up to date; it never
    makes a second copy. Secrets in settings and addresses are not stored.

    Raises:
        TrackingError: the store cannot be reached or refuses. The campaign's own record is not affected.
    """
    settings = settings or TrackingSettings()
    children = () if not settings.enabled else (*round_runs(record), *training_runs(record, settings.models))
    return project(campaign_run(record), children, record.folder, settings, record.name)


def project(
    parent_spec: RunSpec, children: Sequence[RunSpec], folder: Path, settings: TrackingSettings, name: str
) -> TrackingResult:
    """A run and its child runs as they should be, brought up to date where they are there already.

    Args:
        parent_spec, children: the tree.
        folder: where ``mlflow.db`` is unless ``settings`` say otherwise.
        name: of the experiment unless ``settings`` say otherwise.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    experiment = settings.experiment or name
    uri = settings.resolved_uri(folder)
    if not settings.enabled:
        return TrackingResult("", redacted(uri), experiment, "")
    with quiet():
        from mlflow.exceptions import MlflowException

        from materia.tracking._store import Store, set_aside_if_moved

        if settings.uri is None:
            set_aside_if_moved(folder / "mlflow.db", experiment, folder / "mlartifacts")
        try:
            store = Store(uri, experiment, settings.artifacts(folder))
            parent = store.open(parent_spec)
            for spec in children:
                store.put(spec, parent)
            store.put(parent_spec)
        except MlflowException as error:
            raise TrackingError(
                f"MLflow refused: {redacted(str(error)).splitlines()[0]}",
                where=redacted(uri),
                remedy="check tracking.uri; the campaign itself is not affected and tracking can be repeated",
            ) from error
    return TrackingResult(parent, redacted(uri), experiment, _command(redacted(uri), store.experiment_id, parent))


def _command(uri: str, experiment_id: str, run_id: str) -> str:
    if uri.startswith(("http://", "https://")):
        page = f"experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
        return f"{uri.rstrip('/')}/#/{page}"
    if uri.startswith("databricks"):
        return uri
    beside = Path(sys.executable).with_name("mlflow")
    program = "mlflow" if shutil.which("mlflow") or not beside.is_file() else str(beside)
    return shlex.join([program, "ui", "--backend-store-uri", uri])
