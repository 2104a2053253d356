"""The same figures on an NVIDIA GPU as on a CPU, and the same bits every time; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from materia.crystal import Crystal
from materia.resources import resource
from materia.surrogate import Example, Surrogate, SurrogateSettings, train
from surrogate_factory import perovskite, rocksalt, triclinic, wurtzite, zincblende

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU that torch can use")

TINY = {"members": 2, "epochs": 3, "batch_size": 4, "device": "cuda"}
FIELDS = ("mean", "std", "embedding", "in_domain")


@pytest.fixture(scope="module")
def crystals() -> list[Crystal]:
    kinds = [
        zincblende("Ga", "As", 5.65),
        rocksalt("Na", "Cl", 5.64),
        perovskite("Sr", "Ti", "O", 3.905),
        wurtzite("Zn", "O", 3.25),
        triclinic(),
    ]
    return [kind.scaled_to_volume(kind.volume * factor) for factor in (0.95, 1.0, 1.06) for kind in kinds]


def trained(crystals: list[Crystal], folder: Path, **settings: object) -> Surrogate:
    examples = [Example(c, {"gap_pbe": 0.1 * c.volume / c.n_atoms}, f"formula {k}") for k, c in enumerate(crystals)]
    chosen = SurrogateSettings.model_validate({**TINY, **settings})
    return train(examples, targets=["gap_pbe"], settings=chosen, folder=folder, seed=3, progress=False)


@pytest.mark.parametrize("name", ["base", "screener"])
def test_shipped_weights_predict_as_on_a_cpu(name: str, crystals: list[Crystal]) -> None:
    folder = resource("data/weights") / name
    cpu = Surrogate.load(folder, device="cpu").predict(crystals)
    gpu = Surrogate.load(folder, device="cuda").predict(crystals)
    for field in ("mean", "std"):
        np.testing.assert_allclose(getattr(gpu, field), getattr(cpu, field), rtol=1e-4, atol=1e-4, err_msg=field)
    np.testing.assert_array_equal(gpu.in_domain, cpu.in_domain)


def test_every_call_gives_the_same_bits(crystals: list[Crystal]) -> None:
    model = Surrogate.load(resource("data/weights/base"), device="cuda")
    many = crystals * 40
    first = model.predict(many)
    for _ in range(3):
        again = model.predict(many)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(first, field), getattr(again, field), err_msg=field)


def test_the_same_seed_gives_the_same_weights(crystals: list[Crystal], tmp_path: Path) -> None:
    digests = {trained(crystals, tmp_path / str(k)).card["weights_sha256"] for k in range(2)}
    assert len(digests) == 1


def test_training_agrees_with_a_cpus(crystals: list[Crystal], tmp_path: Path) -> None:
    """In double precision: the order of sums is all that differs."""
    gpu = trained(crystals, tmp_path / "gpu", precision="64-true").predict(crystals)
    cpu = trained(crystals, tmp_path / "cpu", precision="64-true", device="cpu").predict(crystals)
    np.testing.assert_allclose(gpu.mean, cpu.mean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_learns(precision: str, crystals: list[Crystal], tmp_path: Path) -> None:
    full = trained(crystals, tmp_path / "full", epochs=30).predict(crystals)
    mixed = trained(crystals, tmp_path / "mixed", epochs=30, precision=precision).predict(crystals)
    assert not np.array_equal(mixed.mean, full.mean)  # or the setting did nothing
    wanted = np.array([0.1 * c.volume / c.n_atoms for c in crystals])
    errors = [float(np.abs(found.mean[:, 0] - wanted).mean()) for found in (mixed, full)]
    assert errors[0] < 1.5 * errors[1] + 0.02
