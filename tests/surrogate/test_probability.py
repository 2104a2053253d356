"""Probabilities: they are as often right as they say, and the figures of the card by hand."""

from __future__ import annotations

import numpy as np
import pytest

from materia.surrogate._probability import (
    ProbabilityCalibration,
    balanced_accuracy,
    calibration_error,
    cross_logits,
)


def overconfident(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits three times too large and shifted, and answers."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, n)
    answers = (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)
    return 3 * true + 1, answers


def probability(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def test_overconfidence_is_undone() -> None:
    calibration = ProbabilityCalibration.fit(*overconfident(4000, 0))
    assert calibration.slope == pytest.approx(1 / 3, abs=0.04)
    assert calibration.intercept == pytest.approx(-1 / 3, abs=0.1)
    logits, answers = overconfident(20_000, 1)
    assert calibration_error(probability(logits), answers) > 0.1
    assert calibration_error(probability(calibration.logit(logits)), answers) < 0.02


def test_each_fold_is_calibrated_on_the_others() -> None:
    logits, answers = overconfident(1000, 2)
    folds = np.arange(1000) % 4
    found = cross_logits(logits, answers, folds)
    here = folds == 2
    alone = ProbabilityCalibration.fit(logits[~here], answers[~here]).logit(logits[here])
    assert np.array_equal(found[here], alone)
    changed = np.where(here, 1 - answers, answers)
    assert np.array_equal(cross_logits(logits, changed, folds)[here], alone)  # its own answers play no part


def test_logits_that_mislead_are_not_followed() -> None:
    logits, answers = overconfident(500, 3)
    calibration = ProbabilityCalibration.fit(-logits, answers)
    assert calibration.slope == pytest.approx(0, abs=1e-6)
    assert probability(calibration.logit(np.zeros(1)))[0] == pytest.approx(answers.mean(), abs=0.01)


def test_with_one_answer_alone_the_logits_stand() -> None:
    assert ProbabilityCalibration.fit(np.arange(20.0), np.ones(20)) == ProbabilityCalibration(1.0, 0.0, 20)


def test_figures_by_hand() -> None:
    """Of three yes two are called right, of one no none: (2/3 + 0) / 2."""
    p, y = np.array([0.9, 0.6, 0.2, 0.7]), np.array([1.0, 1.0, 1.0, 0.0])
    assert balanced_accuracy(p, y) == pytest.approx(1 / 3)
    assert np.isnan(balanced_accuracy(p, np.ones(4)))
    # bins [0.9], [0.6], [0.2], [0.7]: 0.1 + 0.4 + 0.8 + 0.7 over 4
    assert calibration_error(p, y) == pytest.approx(0.5)
    assert calibration_error(np.array([0.72, 0.78]), np.array([1.0, 0.0])) == pytest.approx(0.25)
