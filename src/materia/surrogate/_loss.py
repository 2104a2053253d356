"""The training loss over the labels that exist: each form of quantity has its error, all count alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from materia.quantities import Form
from materia.surrogate._layout import Layout


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


def masked_loss(
    predicted: Tensor,
    labels: Tensor,
    lower: Tensor,
    weight: Tensor,
    layout: Layout,
    count: Tensor | float | None = None,
) -> Tensor:
    """Mean error over known labels of quantities of any form.

    Numbers and logarithms: :func:`masked_l1`. A class: the cross-entropy of its logit. A tensor: the absolute error
    of the l = 0 component and the length of the error of the l = 2 components, one half of each; a length because it
    is the same in every frame.

    Args:
        predicted: (B, W, R) standardised columns of the replicas.
        labels: (B, W) standardised columns, NaN where missing; of a class 0 or 1.
        lower: (W,) standardised physical bounds, -inf where there is none.
        weight: (B, T, R) bootstrap weights.
        layout: which columns belong to which quantity.
        count: what the sum of errors is divided by; default: the known labels here, times R.

    Returns:
        Scalar; zero, with zero gradient, where no label is known.
    """
    if layout.plain:
        return masked_l1(predicted, labels, lower, weight, count)
    if count is None:
        known = ~torch.isnan(labels[:, layout.first])
        count = (known.sum() * predicted.shape[2]).clamp(min=1)
    total = predicted.new_zeros(())
    plain = layout.where(Form.SCALAR, Form.LOG)
    if plain:
        at = [layout.first[j] for j in plain]
        total = total + masked_l1(predicted[:, at], labels[:, at], lower[at], weight[:, plain], count)
    for j in layout.where(Form.CLASS, Form.TENSOR):
        part = layout.columns[j]
        known = ~torch.isnan(labels[:, part.start])
        target = torch.where(known[:, None], labels[:, part], 0.0)[..., None]
        if layout.forms[j] is Form.CLASS:
            logit = predicted[:, part.start]
            error = functional.softplus(logit) - target[:, 0] * logit
        else:
            difference = predicted[:, part] - target
            error = 0.5 * difference[:, 0].abs() + 0.5 * torch.linalg.vector_norm(difference[:, 1:], dim=1)
        total = total + (error * weight[:, j] * known[:, None]).sum() / count
    return total
