"""A prepared SQLite store: MLflow's migrations take seconds, so they run once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from materia.tracking._quiet import quiet


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with quiet():
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def prepared(_empty_store: Path) -> Callable[[Path], Path]:
    """Puts an empty MLflow database at a path."""

    def prepare(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(_empty_store, path))

    return prepare
