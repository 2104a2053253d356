"""The training loss: standardised absolute error over the labels that exist."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_l1(
    predicted: Tensor, labels: Tensor, lower: Tensor, weight: Tensor, count: Tensor | float | None = None
) -> Tensor:
    """Mean absolute error over known labels.

    A label at its quantity's physical bound (a metal's gap of 0) says only that the value is not above it:
    predictions below cost nothing there, so a network may tell "barely metallic" from "deep in the metals".

    Args:
        predicted: (B, T, R) standardised predictions of the replicas.
        labels: (B, T) standardised labels, NaN where missing.
        lower: (T,) standardised physical bounds, -inf where there is none.
        weight: (B, T, R) bootstrap weights.
        count: what the sum of errors is divided by; default: the known labels here, times R.

    Returns:
        Scalar; zero, with zero gradient, where no label is known.
    """
    known = ~torch.isnan(labels)
    target = torch.where(known, labels, 0.0)[..., None]
    error = (predicted - target).abs()
    free = (labels <= lower)[..., None] & (predicted < target)
    weight = weight * known[..., None] * ~free
    if count is None:
        count = (known[..., None] * torch.ones_like(predicted)).sum().clamp(min=1)
    return (error * weight).sum() / count
