"""Networks side by side: what they are told to learn, how their columns are put together, and a training of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from materia.errors import ConfigError
from materia.quantities import FORMATION_ENERGY, GAP_PBE, IS_METAL, Form
from materia.surrogate import Example, GraphStore, Surrogate, SurrogateSettings, train
from materia.surrogate._network import Network
from materia.surrogate._start import warm_network
from materia.surrogate._towers import Towers, plan_of, put_together
from materia.surrogate.testing import CRYSTALS, SurrogateConformance

SHAPE = {"channels": 8, "layers": 1, "cutoff": 4.5, "radial": 4, "pooling_heads": 1, "replicas": 2}
ALL = (FORMATION_ENERGY, GAP_PBE, IS_METAL)
APART = ((FORMATION_ENERGY,), (IS_METAL, GAP_PBE, FORMATION_ENERGY))


def network(seed: int, targets: tuple[str, ...]) -> Network:
    torch.manual_seed(seed)
    made = Network(targets, **SHAPE, forms=[Form.CLASS if t == IS_METAL else Form.SCALAR for t in targets])
    made.centre.normal_()
    made.scale.uniform_(0.5, 2.0)
    return made.eval()


def test_each_quantity_comes_from_the_first_that_learns_it() -> None:
    one, two = network(0, (FORMATION_ENERGY,)), network(1, (FORMATION_ENERGY, GAP_PBE, IS_METAL))
    both = Towers(ALL, [one, two])
    batch = next(iter(GraphStore.build(list(CRYSTALS), 4.5).batches(8)))
    with torch.no_grad():
        columns, latent = both(batch)
        first, second = one(batch), two(batch)
    assert torch.equal(columns, torch.cat([first[0], second[0][:, 1:]], dim=1))
    assert torch.equal(latent, torch.cat([first[1], second[1]], dim=1))
    physical = torch.cat([one.physical(first[0]), two.physical(second[0])[:, 1:]], dim=1)
    assert torch.allclose(both.physical(columns), physical)
    assert both.layout.forms == (Form.SCALAR, Form.SCALAR, Form.CLASS)


def test_a_plan_is_in_the_order_of_the_targets() -> None:
    assert plan_of(ALL, None) == (ALL,)
    assert plan_of(ALL, APART) == ((FORMATION_ENERGY,), ALL)
    assert isinstance(put_together(ALL, [network(0, ALL)]), Network)


@pytest.mark.parametrize(
    ("towers", "words"),
    [
        ([[FORMATION_ENERGY], [GAP_PBE]], "no network learns is_metal"),
        ([[FORMATION_ENERGY, "hardness"], list(ALL)], "hardness is no target"),
        ([[], list(ALL)], "one of them learns nothing"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(towers: list[list[str]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_of(ALL, towers)


def test_a_network_starts_from_the_tower_that_knows_most() -> None:
    trained = Towers(ALL, [network(0, (FORMATION_ENERGY,)), network(1, ALL)])
    for wanted, tower in (((FORMATION_ENERGY,), 0), ((GAP_PBE, FORMATION_ENERGY), 1)):
        fresh = warm_network(network(7, wanted), trained)
        source = trained.networks[tower]
        assert torch.equal(fresh.layers[0].gate.weight, source.layers[0].gate.weight)
        for name in wanted:
            assert torch.equal(fresh.heads[name][2].weight, source.heads[name][2].weight)


@pytest.fixture(scope="module")
def apart_settings(small: SurrogateSettings) -> SurrogateSettings:
    return small.model_copy(update={"towers": ((FORMATION_ENERGY,), (FORMATION_ENERGY, GAP_PBE)), "epochs": 12})


@pytest.fixture(scope="module")
def model(
    tmp_path_factory: pytest.TempPathFactory, examples: list[Example], apart_settings: SurrogateSettings
) -> Surrogate:
    folder = tmp_path_factory.mktemp("towers") / "model"
    return train(examples, targets=[FORMATION_ENERGY, GAP_PBE], settings=apart_settings, folder=folder, progress=False)


class TestConformance(SurrogateConformance):
    @pytest.fixture
    def surrogate(self, model: Surrogate) -> Surrogate:
        return model


def test_a_tower_alone_is_what_it_would_be_without_the_other(
    model: Surrogate, examples: list[Example], apart_settings: SurrogateSettings, tmp_path: Path
) -> None:
    """Energies are learned as by a model that is asked for nothing else, to the last bit."""
    settings = apart_settings.model_copy(update={"towers": None})
    alone = train(examples, targets=[FORMATION_ENERGY], settings=settings, folder=tmp_path / "m", progress=False)
    crystals = [e.crystal for e in examples[:20]]
    here, there = model.predict(crystals), alone.predict(crystals)
    assert np.array_equal(here.column(FORMATION_ENERGY)[0], there.column(FORMATION_ENERGY)[0])
    assert here.embedding.shape[1] == 2 * there.embedding.shape[1]


def test_a_round_goes_on_tower_by_tower(
    examples: list[Example], apart_settings: SurrogateSettings, tmp_path: Path
) -> None:
    targets, settings = [FORMATION_ENERGY, GAP_PBE], apart_settings.model_copy(update={"warm_epochs": 1})
    train(examples[:80], targets=targets, settings=settings, folder=tmp_path / "0", progress=False)
    seen: list[str] = []
    second = train(
        examples[:90],
        targets=targets,
        settings=settings,
        folder=tmp_path / "1",
        previous=tmp_path / "0",
        logger=lambda metrics, epoch: seen.extend(metrics),
        progress=False,
    )
    assert second.card["rounds"]["start"] == "previous"
    assert sorted({name.removesuffix("_train_loss") for name in seen}) == [
        f"member_{k}_tower_{i}" for k in (0, 1) for i in (0, 1)
    ]
    joint = settings.model_copy(update={"towers": None})
    third = train(
        examples[:90], targets=targets, settings=joint, folder=tmp_path / "2", previous=tmp_path / "0", progress=False
    )
    assert third.card["rounds"]["start"] == "beginning"
