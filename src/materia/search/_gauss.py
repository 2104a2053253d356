"""Closed forms for independent Gaussians, exact values (std 0) and quantities clamped from below."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

Floats = NDArray[np.float64]

_SQRT_2PI = math.sqrt(2 * math.pi)


def log_interval(mean: Floats, std: Floats, low: float, high: float, floor: float | None = None) -> Floats:
    """Log probability that ``max(x, floor)`` lies in [low, high], for x ~ N(mean, std²).

    Accurate far into both tails, where the plain difference of two cumulative distributions is 0.

    Args:
        mean, std: (n,), in the quantity's unit; std 0 means the value is known.
        low, high: edges, may be infinite.
        floor: physical lower bound, if there is one.

    Returns:
        (n,) natural logarithms, at most 0.
    """
    if floor is not None:
        if high < floor:
            return np.full(mean.shape, -np.inf)
        if low <= floor:
            low = -math.inf
        mean = np.where(std == 0, np.maximum(mean, floor), mean)
    if math.isinf(low) and math.isinf(high):
        return np.zeros(mean.shape)
    exact = std == 0
    known = np.where((mean >= low) & (mean <= high), 0.0, -np.inf)
    if exact.all():
        return known
    scale = np.where(exact, 1.0, std)
    if math.isinf(low):
        return np.where(exact, known, log_ndtr((high - mean) / scale))
    if math.isinf(high):
        return np.where(exact, known, log_ndtr((mean - low) / scale))
    a, b = (low - mean) / scale, (high - mean) / scale
    flip = a > 0  # work in the left tail, where log_ndtr keeps its digits
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    upper, lower = log_ndtr(b), log_ndtr(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = upper + np.log1p(-np.exp(np.minimum(lower - upper, 0.0)))
    return np.where(exact, known, np.where(np.isneginf(lower), upper, inside))


def log_interval_above(
    chance: Floats, mean: Floats, std: Floats, low: float, high: float, floor: float | None = None
) -> Floats:
    """As :func:`log_interval`, for what lies at its floor with probability ``1 - chance`` and else is N(mean, std²).

    Args:
        chance: (n,) from 0 to 1.
    """
    with np.errstate(divide="ignore"):
        above = np.log(chance) + log_interval(mean, std, low, high, floor)
        if floor is None or not low <= floor <= high:
            return np.asarray(above)
        return np.asarray(np.minimum(np.logaddexp(above, np.log1p(-chance)), 0.0))


def hinge(mean: Floats, std: Floats, corner: float, floor: float | None = None) -> Floats:
    """Expected ``(max(x, floor) - corner)+`` for x ~ N(mean, std²): (n,), in the quantity's unit.

    σ[φ(z) + zΦ(z)] with z = (μ - corner)/σ: expected improvement of Jones, Schonlau & Welch (1998).
    """
    if floor is not None and corner < floor:
        return (floor - corner) + hinge(mean, std, floor)
    exact = std == 0
    if exact.all():
        return np.maximum(mean - corner, 0.0)
    scale = np.where(exact, 1.0, std)
    z = (mean - corner) / scale
    value = scale * (np.exp(-0.5 * z * z) / _SQRT_2PI + z * ndtr(z))
    return np.where(exact, np.maximum(mean - corner, 0.0), np.maximum(value, 0.0))
