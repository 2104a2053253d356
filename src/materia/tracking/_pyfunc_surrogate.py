"""Executed by MLflow when a stored surrogate is loaded: a copy of this file lies in the model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class SurrogateModel(PythonModel):  # type: ignore[misc]
    """Predictions for a table with a ``structure`` column of JSON crystal records.

    Of a class the probability, of a tensor the mean eigenvalue; each with its standard deviation.
    """

    def load_context(self, context: Any) -> None:
        from materia.surrogate import Surrogate

        self.surrogate = Surrogate.load(Path(context.artifacts["surrogate"]))

    # MLflow reads these hints: a data frame says that the stored signature is the schema.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        from materia.crystal import Crystal

        crystals = [Crystal.from_record(json.loads(text)) for text in model_input["structure"]]
        predictions = self.surrogate.predict(crystals)
        columns: dict[str, Any] = {}
        for target in predictions.targets:
            columns[target], columns[f"{target}_std"] = predictions.column(target)
        columns["in_domain"] = predictions.in_domain
        return pd.DataFrame(columns)


set_model(SurrogateModel())
