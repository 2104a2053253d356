"""Where a campaign is tracked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrackingSettings(BaseModel):
    """Where a campaign is tracked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="whether to keep an MLflow record at all")
    uri: str | None = Field(
        default=None,
        description="any MLflow tracking URI; by default a SQLite store, mlflow.db, in the campaign's folder",
    )
    experiment: str | None = Field(
        default=None, min_length=1, description="MLflow experiment; by default the campaign's name"
    )
    models: Literal["last", "all", "none"] = Field(
        default="last", description="which rounds' surrogates are stored as MLflow models"
    )

    def resolved_uri(self, folder: Path) -> str:
        """The tracking URI, secrets included: never print or store it as it is."""
        return self.uri or f"sqlite:///{(folder / 'mlflow.db').resolve()}"

    def artifacts(self, folder: Path) -> Path | None:
        """Where artifacts of a new experiment lie: beside a database; ``None`` where a server decides."""
        uri = self.resolved_uri(folder)
        if uri.startswith("sqlite:///"):
            return Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
        is_database = uri.startswith(("postgresql", "mysql", "mssql"))
        return folder / "mlartifacts" if is_database else None
