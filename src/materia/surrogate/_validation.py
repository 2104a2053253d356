"""What a model's card says of one quantity: errors, coverage, calibration, all on formulas a member has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.quantities import Form, Quantity
from materia.surrogate._calibration import FOLDS, Z90, Calibration, cross_inside, ensemble_gain
from materia.surrogate._evidence import Evidence
from materia.surrogate._folds import grouped_folds
from materia.surrogate._layout import from_figure, tensors
from materia.surrogate._probability import (
    ProbabilityCalibration,
    balanced_accuracy,
    calibration_error,
    cross_logits,
)

Array = NDArray[np.float64]
Found = tuple[Calibration | ProbabilityCalibration, dict[str, Any], dict[str, Any]]


def validate(
    target: Quantity,
    observed: Array,
    predicted: Array,
    evidence: Evidence,
    j: int,
    groups: Sequence[str],
    fallback: float,
    columns: tuple[Array, Array],
    ensemble: int,
    *,
    sure: bool = False,
) -> Found:
    """Calibrate one quantity and say how well it is predicted.

    Args:
        target: the quantity.
        observed: (m,) figures (``_layout``) of the known labels; of a class 0 or 1.
        predicted: (m,) out-of-fold figures, bounded as predictions are.
        evidence: what the members say that have not seen them.
        j: number of the quantity.
        groups: (m) their formulas.
        fallback: standard deviation to quote where too little is known.
        columns: learned columns (m, w) of the labels and of the predictions.
        ensemble: members in all.
        sure: the spread is a standard deviation already.

    Returns:
        The calibration; the figures of the card: ``mae``, ``rmse``, ``coverage_90`` and ``n`` in the unit, moreover
        ``mae_log10`` for logarithms and tensors, ``frobenius`` and ``frobenius_median`` (the norm of the difference
        of two tensors) for tensors, whose other figures are of the mean eigenvalue; for a class
        ``balanced_accuracy`` (at one half), ``ece`` (expected calibration error), ``brier`` and ``n``, each fifth
        calibrated on the others; and what was observed and predicted, in the unit, and whether it was ``inside``.
    """
    if target.form is Form.CLASS:
        return _class(observed, predicted, grouped_folds(groups, FOLDS, seed=1))
    residuals, features = observed - predicted, evidence.features(target, j)
    gain = ensemble_gain(residuals, features, evidence.members, ensemble)
    calibration = Calibration.fit(residuals, features, groups, fallback, gain=gain, sure=sure)
    inside = cross_inside(residuals, features, groups, fallback, sure=sure)
    coverage = math.nan if inside is None else float(inside.mean())
    std = calibration.std(features) if len(observed) else np.zeros(0)
    values, guesses = from_figure(observed, target.form), from_figure(predicted, target.form)
    error = values - guesses
    plain = target.form is Form.SCALAR
    said: dict[str, Any] = {
        "mae": _finite(_mean(np.abs(error)), plain),
        "rmse": _finite(math.sqrt(_mean(error**2)), plain),
        "coverage_90": _finite(coverage),
        "n": len(observed),
    }
    if not plain:
        said["mae_log10"] = _finite(_mean(np.abs(observed - predicted)))
        lower, upper = (from_figure(predicted + way * Z90 * std, target.form) for way in (-1, 1))
        std = (upper - lower) / (2 * Z90)
    if target.form is Form.TENSOR:
        theirs, ours = (tensors(part, figure) for part, figure in zip(columns, (observed, predicted), strict=True))
        norm = np.linalg.norm(theirs - ours, axis=(1, 2))
        said |= {"frobenius": _finite(_mean(norm)), "frobenius_median": _finite(_median(norm))}
    held = {} if inside is None else {"inside": inside.tolist()}
    return calibration, said, _parity(values, guesses, std, plain) | held


def _class(observed: Array, logits: Array, folds: NDArray[np.int64]) -> Found:
    probability = from_figure(cross_logits(logits, observed, folds), Form.CLASS)
    said = {
        "balanced_accuracy": _finite(balanced_accuracy(probability, observed)),
        "ece": _finite(calibration_error(probability, observed)),
        "brier": _finite(_mean((probability - observed) ** 2)),
        "n": len(observed),
    }
    std = np.sqrt(probability * (1 - probability))
    return ProbabilityCalibration.fit(logits, observed), said, _parity(observed, probability, std)


def _parity(observed: Array, predicted: Array, std: Array, plain: bool = True) -> dict[str, Any]:
    columns = {"observed": observed, "predicted": predicted, "std": std}
    return {
        name: column.round(6).tolist() if plain else [_finite(value, plain) for value in column.tolist()]
        for name, column in columns.items()
    }


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _finite(value: float, plain: bool = True) -> float | None:
    """Rounded to six decimals, or to seven digits where a value may have any magnitude; None for what is not known."""
    if not math.isfinite(value):
        return None
    return round(float(value), 6) if plain else float(f"{value:.7g}")
