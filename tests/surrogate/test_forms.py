"""Scalars, logarithms, classes and tensors in one network: each is learned, calibrated and told as what it is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from form_examples import ALL, EPSILON, HARDNESS, MOBILE, POLAR, SETTINGS, SIZE, epsilon, examples, strained
from materia.errors import DatasetError, ModelError
from materia.quantities import GAP_PBE, Form, quantity
from materia.surrogate import Example, GraphStore, Surrogate, train
from materia.surrogate._distributed import World
from materia.surrogate._example import target_matrix
from materia.surrogate._layout import Layout, encode, from_figure, tensors, to_figure
from materia.surrogate._loss import masked_l1, masked_loss
from materia.surrogate._start import fresh_network
from materia.surrogate._training import MemberTask, TrainingModule
from surrogate_factory import rocksalt, zincblende

FORMS = (Form.SCALAR, Form.CLASS, Form.TENSOR, Form.LOG)  # columns 0, 1, 2-7, 8
NAN, INF = math.nan, math.inf


def fit(rows: list[Example], targets: list[str], folder: Path, **settings: Any) -> Surrogate:
    given = SETTINGS.model_copy(update=settings)
    return train(rows, targets=targets, declared=ALL, settings=given, folder=folder, progress=False)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Surrogate, Path]:
    folder = tmp_path_factory.mktemp("forms")
    return fit(examples(), [q.name for q in ALL], folder), folder


def test_columns_of_a_layout() -> None:
    layout = Layout(FORMS)
    assert (layout.width, layout.first) == (9, [0, 1, 2, 8])
    assert layout.where(Form.SCALAR, Form.LOG) == [0, 3]
    assert not layout.plain and Layout((Form.SCALAR, Form.LOG)).plain
    columns = np.zeros((2, 9))
    columns[:, 0], columns[:, 8] = 4.0, -1.0
    columns[1, 2:8] = encode(((2.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, 13.0)), Form.TENSOR)
    figures = layout.figures(columns)
    assert figures[0] == pytest.approx([4.0, 0.0, 0.0, -1.0])  # the exponential of no tensor is one
    assert figures[1, 2] == pytest.approx(math.log10(20 / 3))


def test_values_there_and_back() -> None:
    assert encode(1000.0, Form.LOG) == pytest.approx([3.0])
    assert from_figure(np.array([3.0]), Form.LOG) == pytest.approx([1000.0])
    assert from_figure(np.array([0.0]), Form.CLASS) == pytest.approx([0.5])
    assert to_figure(np.array([100.0]), Form.TENSOR) == pytest.approx([2.0])
    tilted = ((3.0, 0.5, 0.0), (0.5, 4.0, -0.2), (0.0, -0.2, 7.0))
    found = tensors(encode(tilted, Form.TENSOR)[None], np.log10([14 / 3]))
    assert found[0] == pytest.approx(np.array(tilted))
    larger = tensors(encode(tilted, Form.TENSOR)[None], np.log10([28 / 3]))
    assert larger[0] == pytest.approx(2 * np.array(tilted))


def test_loss_of_each_form_by_hand() -> None:
    """|1 - 3| = 2; cross-entropy of logit 0 is ln 2; the tensor is off by 1 in l = 0 and by (3, 4) in l = 2."""
    predicted = torch.zeros(1, 9, 1)
    predicted[0, 0], predicted[0, 2], predicted[0, 3], predicted[0, 4] = 1.0, 1.0, 3.0, 4.0
    labels = torch.zeros(1, 9)
    labels[0, 0], labels[0, 1], labels[0, 8] = 3.0, 1.0, NAN
    weight, lower = torch.ones(1, 4, 1), torch.full((9,), -INF)
    value = masked_loss(predicted, labels, lower, weight, Layout(FORMS))
    assert float(value) == pytest.approx((2 + math.log(2) + (0.5 * 1 + 0.5 * 5)) / 3)
    weight[0, 2] = 0.0
    assert float(masked_loss(predicted, labels, lower, weight, Layout(FORMS))) == pytest.approx((2 + math.log(2)) / 3)


def test_missing_labels_of_any_form_have_no_gradient() -> None:
    predicted = torch.randn(4, 9, 2, requires_grad=True)
    labels = torch.full((4, 9), NAN)
    labels[0, 0], labels[1, 1], labels[2, 2:8], labels[3, 8] = 0.3, 1.0, torch.zeros(6), -1.0
    masked_loss(predicted, labels, torch.full((9,), -INF), torch.ones(4, 4, 2), Layout(FORMS)).backward()
    assert predicted.grad is not None
    assert torch.equal(predicted.grad != 0, (~labels.isnan())[..., None].expand_as(predicted))
    exact = torch.zeros(1, 9, 2, requires_grad=True)  # no error at all: no NaN from the length of nothing
    masked_loss(exact, torch.zeros(1, 9), torch.full((9,), -INF), torch.ones(1, 4, 2), Layout(FORMS)).backward()
    assert exact.grad is not None and torch.isfinite(exact.grad).all()


def test_scalars_alone_have_the_loss_they_had() -> None:
    predicted, labels = torch.randn(5, 2, 3), torch.randn(5, 2)
    weight, lower = torch.rand(5, 2, 3), torch.tensor([-INF, 0.0])
    layout = Layout((Form.SCALAR, Form.SCALAR))
    assert torch.equal(
        masked_loss(predicted, labels, lower, weight, layout), masked_l1(predicted, labels, lower, weight)
    )


def test_processes_that_share_a_batch_have_the_loss_of_the_whole(tmp_path: Path) -> None:
    """A tensor counts once, not once a column: the mean of two shares' losses is that of the batch."""
    rows = examples()[:10]
    labels = target_matrix(rows, ALL)
    network = fresh_network([q.name for q in ALL], labels, SETTINGS, 0, [q.form for q in ALL])
    store = GraphStore.build([e.crystal for e in rows], 4.5)
    task = MemberTask(store, labels, [None] * network.layout.width, range(10), (), 0)

    def loss(world: World, rank: int) -> torch.Tensor:
        module = TrainingModule(network, task, SETTINGS, World(rank, world.size, rank, world.size))
        module.log = lambda *_, **__: None  # type: ignore[method-assign]
        module.trainer = SimpleNamespace(global_step=0)  # type: ignore[assignment]
        asked = list(range(10))
        mine = asked[module.world.share(10)] if world.size > 1 else asked
        return module.training_step((store.batch(mine), asked), 0)

    whole, shares = loss(World(), 0), [loss(World(0, 2, 0, 2), rank) for rank in range(2)]
    assert float(sum(shares).detach() / 2) == pytest.approx(float(whole.detach()), rel=1e-5)


def test_each_form_is_learned(learned: tuple[Surrogate, Path]) -> None:
    """Out of fold, on compounds the members have not seen."""
    said = learned[0].card["validation"]
    observed = learned[0].card["parity"][HARDNESS.name]["observed"]
    decades = np.log10(observed)
    assert said[HARDNESS.name]["mae_log10"] < 0.4 * np.abs(decades - np.median(decades)).mean()
    assert said[POLAR.name]["balanced_accuracy"] > 0.7  # some twenty answers
    assert said[POLAR.name]["ece"] < 0.25 and said[POLAR.name]["brier"] < 0.2
    assert said[EPSILON.name]["frobenius_median"] <= said[EPSILON.name]["frobenius"]
    for q in (SIZE, HARDNESS, MOBILE, EPSILON):
        assert 0.6 <= said[q.name]["coverage_90"] <= 1
    assert learned[0].card["n_labels"][EPSILON.name] == sum(EPSILON.name in e.targets for e in examples())


def test_anisotropy_is_learned_and_turns(tmp_path: Path) -> None:
    """Trained on strains along x and z; the answer for one along y follows from symmetry alone."""
    model = fit(examples((0, 2)), [EPSILON.name], tmp_path, members=1, folds=10, epochs=40)
    crystals = [strained(rocksalt("Na", "Cl", 5.2), 1, by) for by in (0.12, -0.12)]
    for tensor, by in zip(model.predict(crystals).tensors[EPSILON.name], (0.12, -0.12), strict=True):
        xx, yy, zz = np.diag(tensor)
        assert xx == pytest.approx(zz, rel=1e-4)
        true = np.diag(epsilon(0.0, 1, by))
        assert math.log(yy / xx) == pytest.approx(math.log(true[1] / true[0]), rel=0.5)
    (cubic,) = model.predict([zincblende("Ga", "S", 5.4)]).tensors[EPSILON.name]
    assert cubic == pytest.approx(np.eye(3) * cubic[0, 0], abs=1e-4 * cubic[0, 0])  # symmetry, not learning


def test_what_is_predicted_of_each_form(learned: tuple[Surrogate, Path]) -> None:
    model, _ = learned
    rows = examples()
    found = model.predict([e.crystal for e in rows])
    assert found.forms == tuple(q.form for q in ALL)
    mean, std = found.column(HARDNESS.name)
    lower, upper = found.interval(HARDNESS.name)
    assert (lower > 0).all()
    assert upper / mean == pytest.approx(mean / lower)  # as far up as down, in decades
    assert std == pytest.approx((upper - lower) / (2 * 1.6448536), rel=1e-6)
    p, spread = found.column(POLAR.name)
    assert spread == pytest.approx(np.sqrt(p * (1 - p)))
    with pytest.raises(ModelError, match="polar is a class"):
        found.interval(POLAR.name)
    tensor = found.tensors[EPSILON.name]
    assert np.trace(tensor, axis1=1, axis2=2) / 3 == pytest.approx(found.column(EPSILON.name)[0])
    lower, upper = found.interval(EPSILON.name)
    truth = np.array([np.trace(e.targets[EPSILON.name]) / 3 if EPSILON.name in e.targets else NAN for e in rows])
    known = ~np.isnan(truth)
    assert np.mean((lower <= truth) & (truth <= upper), where=known) > 0.8
    assert set(found.ends) == {HARDNESS.name, MOBILE.name, EPSILON.name}


def test_a_network_of_another_form_is_no_start_for_a_head(learned: tuple[Surrogate, Path], tmp_path: Path) -> None:
    """The trunk and the heads of the same form are taken over; a scalar's head is no logarithm's."""
    scalar = quantity("bulk_modulus")
    rows = [Example(e.crystal, {**e.targets, scalar.name: 50.0}, e.group) for e in examples()[:20]]
    model = fit(rows, [EPSILON.name, scalar.name], tmp_path, epochs=1, members=1, pretrained=str(learned[1]))
    assert model.card["ranges"][EPSILON.name] == learned[0].card["ranges"][EPSILON.name]
    before = learned[0].members[0].network
    after = model.members[0].network
    assert after.layout.forms == (Form.TENSOR, Form.LOG)
    there, here = before.layout.columns[before.targets.index(EPSILON.name)], after.layout.columns[0]
    assert torch.equal(after.scale[here], before.scale[there])


def test_the_card_says_the_form(learned: tuple[Surrogate, Path]) -> None:
    card = json.loads((learned[1] / "card.json").read_text())
    assert card["quantities"]["epsilon"]["form"] == "tensor"
    least = min(np.trace(e.targets["epsilon"]) / 3 for e in examples() if "epsilon" in e.targets)
    assert card["ranges"]["polar"] == [0.0, 1.0] and card["ranges"]["epsilon"][0] == pytest.approx(least)
    assert "form" not in card["quantities"]["size"]  # cards of scalars are those of earlier versions
    assert set(card["calibration"]["polar"]) == {"slope", "intercept", "n"}
    assert Surrogate.load(learned[1]).quantities == ALL


def test_a_class_begins_at_its_share_and_a_tensor_without_centre() -> None:
    labels = np.full((30, 9), NAN)
    labels[:, 0], labels[:, 8] = np.arange(30.0), 1.0
    labels[:, 1] = [1.0] * 27 + [0.0] * 3
    labels[:, 2:8] = np.random.default_rng(0).normal(size=(30, 6)) + 2
    network = fresh_network(("a", "b", "c", "d"), labels, SETTINGS, 0, FORMS)
    assert network.centre[3:8].tolist() == [0.0] * 5
    assert len(set(network.scale[3:8].tolist())) == 1
    assert float(network.scale[3]) == pytest.approx(np.sqrt((labels[:, 3:8] ** 2).sum(1).mean()), rel=1e-5)
    assert float(network.heads["b"][2].bias[0].detach()) == pytest.approx(math.log(28 / 4), rel=1e-5)
    predicted, _ = network(GraphStore.build([rocksalt("Na", "Cl", 5.6)], 4.5).batch([0]))
    assert predicted.shape == (1, 9, 2)


def test_small_logarithms_keep_their_digits(tmp_path: Path) -> None:
    rows = [Example(e.crystal, {HARDNESS.name: 1e-15 * e.targets["mobile"]}, e.group)  # type: ignore[operator]
            for e in examples() if "mobile" in e.targets]  # fmt: skip
    card = fit(rows, [HARDNESS.name], tmp_path, epochs=1).card
    assert 0 < card["validation"][HARDNESS.name]["mae"] < 1e-12
    assert min(card["parity"][HARDNESS.name]["observed"]) > 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bulk_modulus", -3.0, "bulk_modulus is -3.0, not positive"),
        ("is_metal", 0.5, "is_metal is '0.5', not 0, 1, true or false"),
        ("dielectric_electronic", np.diag([1.0, 2.0, -1.0]), "not positive definite: its least eigenvalue is -1"),
        ("dielectric_electronic", 3.0, r"has the shape \(\)"),
    ],
)
def test_labels_that_are_not_of_their_form(tmp_path: Path, name: str, value: object, message: str) -> None:
    row = Example(rocksalt("Na", "Cl", 5.6), {name: value}, "NaCl")  # type: ignore[dict-item]
    with pytest.raises(DatasetError, match=message):
        fit([row], [name], tmp_path)


def test_numpy_tensors_are_labels_too(tmp_path: Path) -> None:
    crystals = [rocksalt("Na", "Cl", 5.6), zincblende("Ga", "As", 5.65)]
    rows = [Example(c, {EPSILON.name: np.eye(3) * 5, GAP_PBE: 1.0}, c.formula) for c in crystals]  # type: ignore[dict-item]
    model = fit(rows, [EPSILON.name, GAP_PBE], tmp_path, epochs=1, members=1)
    assert model.predict(crystals).tensors[EPSILON.name].shape == (2, 3, 3)
