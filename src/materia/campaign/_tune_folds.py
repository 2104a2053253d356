"""How good settings are: a network a fold, scored on the formulas it has not seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from materia import files
from materia.campaign._request import TrainingRequest
from materia.campaign._train import usable_rows
from materia.errors import DatasetError
from materia.quantities import Form
from materia.surrogate import Example, Predictions, SurrogateSettings, grouped_folds, train

Array = NDArray[np.float64]


def fold_scores(request: TrainingRequest, settings: SurrogateSettings, folds: int, place: Path) -> Iterator[float]:
    """The score of every fold in turn: error over that of the training median, mean over targets.

    Finished folds are read from ``place``; an unfinished one goes on from its checkpoint.

    Raises:
        DatasetError: the data cannot be read, or a fold has no label.
        ModelError: training diverged.
    """
    examples = [Example(r.crystal, r.values, r.crystal.formula) for r in usable_rows(request).rows]
    home = grouped_folds([e.group for e in examples], folds, request.seed)
    for k in range(folds):
        note = place / f"fold_{k}.json"
        if not note.exists():
            seen = [e for e, fold in zip(examples, home, strict=True) if fold != k]
            held = [e for e, fold in zip(examples, home, strict=True) if fold == k]
            if not seen or not held:
                raise DatasetError(
                    f"{len(examples)} usable structures are too few for {folds} folds of formulas", where=request.data
                )
            model = train(
                seen,
                targets=list(request.targets),
                declared=request.declared,
                settings=settings,
                folder=place / f"fold_{k}",
                seed=request.seed,
                progress=False,
            )
            predicted = model.predict([e.crystal for e in held])
            files.write_whole(note, json.dumps(relative_error(predicted, held, seen, request.forms)))
            shutil.rmtree(place / f"fold_{k}", ignore_errors=True)
        yield float(json.loads(note.read_text()))


def relative_error(
    predicted: Predictions, held: Sequence[Example], seen: Sequence[Example], forms: dict[str, Form]
) -> float:
    """Sum of errors over the sum that the training median makes, mean over the targets that ``held`` has.

    Numbers: absolute errors; logarithms and tensors (of the mean eigenvalue): of decimal logarithms; classes: squared
    errors of the probability, against the training mean (the Brier score and its skill's reference).

    Raises:
        DatasetError: no structure of ``held`` or ``seen`` has a label.
    """
    ratios = []
    for name, form in forms.items():
        at = [i for i, e in enumerate(held) if name in e.targets]
        known = _figures([e.targets[name] for e in seen if name in e.targets], form)
        if not at or not len(known):
            continue
        truth = _figures([held[i].targets[name] for i in at], form)
        mean = predicted.column(name)[0][at]
        guess = mean if form in (Form.SCALAR, Form.CLASS) else np.log10(mean)
        if form is Form.CLASS:
            error, base = (guess - truth) ** 2, (known.mean() - truth) ** 2
        else:
            error, base = np.abs(guess - truth), np.abs(np.median(known) - truth)
        ratios.append(float(error.sum() / max(base.sum(), 1e-12)))
    if not ratios:
        raise DatasetError("a fold has no label of any target", remedy="use fewer folds, or more data")
    return float(np.mean(ratios))


def _figures(values: Sequence[object], form: Form) -> Array:
    """(n,) numbers that are compared."""
    array = np.asarray(values, dtype=np.float64)
    if form is Form.TENSOR and len(array):
        array = np.trace(array.reshape(-1, 3, 3), axis1=1, axis2=2) / 3
    return np.log10(array) if form in (Form.LOG, Form.TENSOR) else array
