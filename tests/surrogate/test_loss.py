"""The loss: by hand, missing labels, the physical bound."""

from __future__ import annotations

import math

import pytest
import torch

from materia.crystal import Crystal
from materia.surrogate import GraphStore, SurrogateSettings
from materia.surrogate._loss import masked_l1
from surrogate_factory import make_network

NAN, INF = math.nan, math.inf


def loss(predicted: list[list[float]], labels: list[list[float]], lower: list[float]) -> float:
    p = torch.tensor(predicted)[..., None]
    return float(masked_l1(p, torch.tensor(labels), torch.tensor(lower), torch.ones_like(p)))


def test_mean_over_known_labels() -> None:
    """|1-0|, |2-5| known, one missing: (1 + 3) / 2."""
    assert loss([[1.0, 2.0], [7.0, 9.0]], [[0.0, 5.0], [NAN, NAN]], [-INF, -INF]) == pytest.approx(2.0)


def test_below_the_bound_a_metal_costs_nothing() -> None:
    assert loss([[-3.0]], [[0.0]], [0.0]) == 0.0
    assert loss([[0.5]], [[0.0]], [0.0]) == pytest.approx(0.5)
    assert loss([[-3.0]], [[1.0]], [0.0]) == pytest.approx(4.0)  # a semiconductor called a metal is wrong


def test_missing_labels_have_no_gradient(crystals: list[Crystal]) -> None:
    """Changing what is missing cannot change a weight: heads without labels get exactly zero gradient."""
    network = make_network(SurrogateSettings(channels=8, pretrained=None))
    predicted, _ = network(GraphStore.build(crystals, 5.0).batch(range(len(crystals))))
    predicted.retain_grad()
    labels = torch.tensor([[0.3, NAN], [NAN, NAN], [-0.2, NAN], [NAN, NAN], [1.0, NAN]])
    masked_l1(predicted, labels, torch.tensor([-INF, -INF]), torch.ones_like(predicted)).backward()
    assert predicted.grad is not None
    assert torch.equal(predicted.grad != 0, (~labels.isnan())[..., None].expand_as(predicted))
    first, second = network.heads.values()
    assert all(float(p.grad.abs().max()) > 0 for p in first.parameters() if p.grad is not None)
    assert all(float(p.grad.abs().max()) == 0 for p in second.parameters() if p.grad is not None)


def test_no_label_at_all_is_zero_with_zero_gradient() -> None:
    p = torch.randn(3, 2, 4, requires_grad=True)
    value = masked_l1(p, torch.full((3, 2), NAN), torch.tensor([-INF, 0.0]), torch.ones(3, 2, 4))
    value.backward()
    assert float(value.detach()) == 0.0
    assert p.grad is not None and float(p.grad.abs().max()) == 0.0
