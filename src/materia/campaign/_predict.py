"""Predictions of a trained surrogate for structures in files; one bad file never stops the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from materia.crystal import Crystal, read_structures
from materia.errors import MateriaError, ModelError
from materia.quantities import Form, Quantity
from materia.resources import resource

if TYPE_CHECKING:
    from materia.surrogate import Predictions

SCREENER = "data/weights/screener"


def model_folder(where: str | Path | None) -> Path:
    """A model folder, or the last model of a campaign folder; None: the shipped weights for predictions as they are.

    Raises:
        ModelError: neither is there.
    """
    folder = resource(SCREENER) if where is None else Path(where)
    if (folder / "card.json").is_file():
        return folder
    rounds = [p for p in (folder / "models").glob("*") if p.name.isdigit() and (p / "card.json").is_file()]
    if not rounds:
        raise ModelError(
            "no trained model here",
            where=folder,
            remedy="give a campaign folder with a trained round, or a model folder",
        )
    return max(rounds, key=lambda p: int(p.name))


def predict(
    model: str | Path | None, files: Sequence[str | Path], *, device: str = "auto", progress: bool = False
) -> list[dict[str, Any]]:
    """Predict every structure in the files.

    Args:
        model: model folder, or campaign folder (its last model is used); None: the shipped weights.
        files: CIF, POSCAR, extxyz, pymatgen or materia JSON.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        one row a structure: ``file``, ``formula``, ``in_domain``, ``remoteness`` (share of the formulas left out in
        training that lie nearer to the training data; None where none was) and, by quantity, ``form``, ``unit`` and

        - of a scalar or a logarithm ``mean``, ``std``, ``lower`` and ``upper`` (the 90 % interval);
        - of a class ``probability``;
        - of a tensor ``tensor`` (3x3, in the frame of the file's lattice vectors), ``eigenvalues`` (rising), and
          ``mean``, ``std``, ``lower`` and ``upper`` of the mean of its eigenvalues.

        For a file that cannot be used ``file`` and ``error``.
    """
    from materia.surrogate import Surrogate

    surrogate = Surrogate.load(model_folder(model), device=device)
    rows: list[dict[str, Any]] = []
    crystals: list[Crystal] = []
    places: list[int] = []
    for file in files:
        try:
            for crystal in read_structures(file):
                crystals.append(crystal)
                places.append(len(rows))
                rows.append({"file": str(file), "formula": crystal.formula})
        except MateriaError as error:
            rows.append({"file": str(file), "error": str(error)})
    if crystals:
        found = surrogate.predict(crystals, progress=progress)
        remote = surrogate.remoteness(found)
        for k, place in enumerate(places):
            rows[place]["in_domain"] = bool(found.in_domain[k])
            rows[place]["remoteness"] = None if np.isnan(remote[k]) else float(remote[k])
            rows[place]["predictions"] = {q.name: _said(found, q, k) for q in surrogate.quantities}
    return json.loads(json.dumps(rows))  # type: ignore[no-any-return]


def _said(found: Predictions, target: Quantity, k: int) -> dict[str, Any]:
    """What is predicted of one quantity of structure k."""
    mean, std = (float(column[k]) for column in found.column(target.name))
    if target.form is Form.CLASS:
        return {"probability": mean, "unit": target.unit, "form": target.form}
    lower, upper = (float(end[k]) for end in found.interval(target.name))
    said = {"mean": mean, "std": std, "lower": lower, "upper": upper, "unit": target.unit, "form": target.form}
    if target.form is Form.TENSOR:
        tensor = found.tensors[target.name][k]
        said |= {"tensor": tensor.tolist(), "eigenvalues": np.linalg.eigvalsh(tensor).tolist()}
    return said
