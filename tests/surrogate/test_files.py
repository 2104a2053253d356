"""Model folders: bit-equal round trip, clear errors for damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from materia.crystal import Crystal
from materia.errors import ModelError
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.surrogate import Example, Surrogate, SurrogateSettings, train
from materia.surrogate._files import read_model, write_model


@pytest.fixture(scope="module")
def model(
    examples: list[Example], small: SurrogateSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Surrogate, Path]:
    folder = tmp_path_factory.mktemp("model")
    trained = train(examples[:30], targets=[FORMATION_ENERGY, GAP_PBE], settings=small, folder=folder, progress=False)
    return trained, folder


@pytest.fixture
def copy(model: tuple[Surrogate, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(model[1], tmp_path / "copy"))


def test_round_trip_is_bit_equal(model: tuple[Surrogate, Path], crystals: list[Crystal], tmp_path: Path) -> None:
    before = model[0].predict(crystals)
    loaded = Surrogate.load(model[1])
    again = loaded.save(tmp_path / "again")
    for other in (loaded, Surrogate.load(tmp_path / "again")):
        after = other.predict(crystals)
        for field in ("mean", "std", "embedding", "in_domain"):
            assert np.array_equal(getattr(before, field), getattr(after, field)), field
        assert other.card == model[0].card == again.card


def test_prepared_graphs_give_the_same_predictions(model: tuple[Surrogate, Path], crystals: list[Crystal]) -> None:
    graphs = model[0].prepare(crystals)
    assert np.array_equal(model[0].predict(graphs).mean, model[0].predict(crystals).mean)
    empty = model[0].predict([])
    assert len(empty) == 0 and empty.mean.shape == (0, 2)


def test_order_of_the_pool_does_not_matter(model: tuple[Surrogate, Path], crystals: list[Crystal]) -> None:
    forward, backward = model[0].predict(crystals), model[0].predict(crystals[::-1])
    assert np.allclose(forward.mean, backward.mean[::-1], atol=1e-5)
    assert np.allclose(forward.std, backward.std[::-1], rtol=1e-3)


def test_unknown_column_names_what_there_is(model: tuple[Surrogate, Path], crystals: list[Crystal]) -> None:
    with pytest.raises(ModelError, match="does not predict 'gap_hse06'"):
        model[0].predict(crystals[:1]).column("gap_hse06")


def test_flipped_bit_is_noticed(copy: Path) -> None:
    path = copy / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="do not match their card"):
        Surrogate.load(copy)


def test_cut_off_weights_are_noticed(copy: Path) -> None:
    path = copy / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="do not match their card"):
        Surrogate.load(copy)


@pytest.mark.parametrize("name", ["weights.safetensors", "card.json"])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        Surrogate.load(copy)


def test_damaged_card(copy: Path) -> None:
    (copy / "card.json").write_text('{"format": ')
    with pytest.raises(ModelError, match="card is damaged"):
        Surrogate.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "not the card of a surrogate"),
        ({"version": 99}, "model format 99"),
        ({"architecture": {"channels": 8}}, "do not fit the card"),
        ({"targets": [FORMATION_ENERGY]}, "do not fit the card"),
        ({"members": [{"latent_unit": 1.0}] * 3}, "do not fit the card"),
    ],
)
def test_card_of_another_model(copy: Path, change: dict[str, object], message: str) -> None:
    path = copy / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        Surrogate.load(copy)


def test_canaries_stop_a_model_that_predicts_something_else(copy: Path) -> None:
    """Weights that fit the digest and the shapes, and yet are not those the card speaks of."""
    tensors, card = read_model(copy)
    tensors["member.0.network.heads.formation_energy_per_atom.0.weight"] *= 3.0
    write_model(copy, tensors, card)
    with pytest.raises(ModelError, match=r"does not predict what it did.*MgO \(off by"):
        Surrogate.load(copy)


def test_a_canary_that_is_missing_is_named(copy: Path) -> None:
    tensors, card = read_model(copy)
    del card["canaries"]["NaCl"]
    write_model(copy, tensors, card)
    with pytest.raises(ModelError, match=r"NaCl \(not in the card\)"):
        Surrogate.load(copy)
