"""A surrogate as an MLflow model: code and safetensors, no pickle."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from materia._version import __version__
from materia.tracking._spec import ModelSpec

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "materia.key"
DIGEST_TAG = "materia.digest"
_SCRIPT = Path(__file__).with_name("_pyfunc_surrogate.py")


def signature(targets: tuple[str, ...]) -> Any:
    """MLflow signature: a JSON crystal record in, two columns per quantity and ``in_domain`` out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    columns = [ColSpec(DataType.double, name) for q in targets for name in (q, f"{q}_std")]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "structure")]),
        outputs=Schema([*columns, ColSpec(DataType.boolean, "in_domain")]),
    )


def log_model(client: MlflowClient, experiment_id: str, run_id: str, key: str, spec: ModelSpec) -> str:
    """Store the model of ``key`` once, as an output of ``run_id``; its MLflow model id.

    One left unfinished by a crash, or of other content, is replaced.
    """
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelStatus
    from mlflow.models import Model

    for found in client.search_logged_models([experiment_id], f"tags.`{KEY_TAG}` = '{key}'"):
        if found.status == LoggedModelStatus.READY and found.tags.get(DIGEST_TAG) == spec.digest:
            _link(client, run_id, str(found.model_id))
            return str(found.model_id)
        client.delete_logged_model(found.model_id)
    tags = {KEY_TAG: key, DIGEST_TAG: spec.digest}
    model = client.create_logged_model(
        experiment_id, name="surrogate", source_run_id=run_id, tags=tags, model_type="materia-surrogate"
    )
    with tempfile.TemporaryDirectory(prefix="materia-") as folder:
        path, staged = Path(folder) / "model", Path(folder) / "surrogate"
        staged.mkdir()
        for name in spec.files:
            shutil.copy(spec.folder / name, staged / name)
        mlflow.pyfunc.save_model(
            str(path),
            python_model=str(_SCRIPT),
            artifacts={"surrogate": str(staged)},
            signature=signature(spec.targets),
            pip_requirements=[f"materia=={__version__}"],
            mlflow_model=Model(run_id=run_id, model_id=model.model_id),
        )
        client.log_model_artifacts(model.model_id, str(path))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    _link(client, run_id, str(model.model_id))
    return str(model.model_id)


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Name the model as the run's output, unless it is already."""
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run_id).outputs
    if outputs is None or model_id not in {m.model_id for m in outputs.model_outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
