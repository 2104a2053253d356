"""Training: it learns, it repeats itself, it resumes, it says what it cannot do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from materia.crystal import Crystal
from materia.errors import ConfigError, DatasetError, ModelError
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.surrogate import Example, Surrogate, SurrogateSettings, _ensemble, train
from materia.surrogate._network import Network
from materia.surrogate._training import MemberTask

TARGETS = [FORMATION_ENERGY, GAP_PBE]


@pytest.fixture(scope="module")
def learned(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> tuple[Surrogate, list[Example]]:
    """Trained on four fifths of the synthetic compounds; the last fifth is for testing."""
    settings = SurrogateSettings(
        channels=16,
        layers=2,
        cutoff=4.5,
        members=2,
        replicas=2,
        epochs=15,
        batch_size=8,
        pretrained=None,
        learning_rate=5e-3,
    )
    test = examples[::7]
    rest = [e for i, e in enumerate(examples) if i % 7]
    folder = tmp_path_factory.mktemp("model")
    return train(rest, targets=TARGETS, settings=settings, folder=folder, seed=1, progress=False), test


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def test_it_learns_better_than_the_mean(learned: tuple[Surrogate, list[Example]]) -> None:
    model, test = learned
    predictions = model.predict([e.crystal for e in test])
    for name in TARGETS:
        mean, std = predictions.column(name)
        known = [i for i, e in enumerate(test) if name in e.targets]
        truth = np.array([test[i].targets[name] for i in known])
        error = np.abs(mean[known] - truth)
        assert error.mean() < 0.5 * np.abs(truth - np.median(truth)).mean()
        assert np.mean(error <= 1.645 * std[known]) > 0.7
    gaps, _ = predictions.column(GAP_PBE)
    assert gaps.min() >= 0.0
    assert predictions.in_domain.mean() > 0.7


def test_card_says_what_was_done(learned: tuple[Surrogate, list[Example]]) -> None:
    card = json.loads(json.dumps(learned[0].card))
    assert card["targets"] == TARGETS
    assert card["n_train"] == 85
    for name in TARGETS:
        n = card["validation"][name]["n"]
        parity = card["parity"][name]
        assert n == len(parity["observed"]) == len(parity["predicted"]) == len(parity["std"]) > 50
        error = np.array(parity["predicted"]) - np.array(parity["observed"])
        assert card["validation"][name]["mae"] == pytest.approx(np.abs(error).mean(), abs=1e-4)
        assert 0.75 <= card["validation"][name]["coverage_90"] <= 1.0


def test_what_is_strange_is_out_of_domain(learned: tuple[Surrogate, list[Example]]) -> None:
    unknown_element = Crystal.from_species(np.eye(3) * 3.5, ["U", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    lone = Crystal.from_species(np.eye(3) * 12, ["Na"], [[0, 0, 0]])
    predictions = learned[0].predict([unknown_element, lone])
    assert predictions.in_domain.tolist() == [False, False]
    assert np.isfinite(predictions.mean).all() and (predictions.std > 0).all()


def test_same_seed_same_weights(examples: list[Example], small: SurrogateSettings, tmp_path: Path) -> None:
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        torch.manual_seed(len(name))  # what others draw must not matter
        train(examples[:20], targets=TARGETS, settings=small, folder=tmp_path / name, seed=seed, progress=False)
        torch.rand(7)
    a, b, c = (weights(tmp_path / n) for n in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a if a[key].shape == c[key].shape)
    assert (tmp_path / "a/card.json").read_text() == (tmp_path / "b/card.json").read_text()


class Stopped(Exception):
    """Stands for a power cut."""


def test_resumed_training_equals_uninterrupted(
    examples: list[Example], small: SurrogateSettings, tmp_path: Path
) -> None:
    settings = small.model_copy(update={"epochs": 6, "checkpoint_every": 2})
    asked = {"targets": TARGETS, "settings": settings, "seed": 2, "progress": False}
    train(examples[:24], folder=tmp_path / "whole", **asked)
    seen: list[str] = []

    def stop_at(member: int, epoch: int):  # type: ignore[no-untyped-def]
        def log(metrics: Mapping[str, float], now: int) -> None:
            seen.extend(f"{name}@{now}" for name in metrics)
            if f"member_{member}_train_loss" in metrics and now == epoch:
                raise Stopped

        return log

    for member, epoch in ((0, 4), (1, 5)):
        with pytest.raises(Stopped):
            train(examples[:24], folder=tmp_path / "cut", logger=stop_at(member, epoch), **asked)
        assert not (tmp_path / "cut/card.json").exists()
        seen.clear()
    train(examples[:24], folder=tmp_path / "cut", logger=stop_at(9, 9), **asked)
    assert seen == ["member_1_train_loss@5", "member_1_train_loss@6"]  # member 0 done, member 1 from epoch 4
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert not (tmp_path / "cut/training").exists()


def test_warm_start_takes_trunk_and_heads(examples: list[Example], small: SurrogateSettings, tmp_path: Path) -> None:
    train(examples[:20], targets=TARGETS, settings=small, folder=tmp_path / "base", seed=0, progress=False)
    frozen = small.model_copy(
        update={"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0, "pretrained": str(tmp_path / "base")}
    )
    train(examples[20:40], targets=TARGETS, settings=frozen, folder=tmp_path / "warm", seed=9, progress=False)
    base, warm = weights(tmp_path / "base"), weights(tmp_path / "warm")
    kept = [key for key in base if ".network." in key]
    assert kept and all(torch.allclose(base[key], warm[key], atol=1e-6) for key in kept)
    other = SurrogateSettings(channels=16, pretrained=str(tmp_path / "base"))
    with pytest.raises(ModelError, match=r"surrogate\.channels is 16, but the pretrained weights have 8"):
        train(examples[:20], targets=TARGETS, settings=other, folder=tmp_path / "no", progress=False)


@pytest.mark.parametrize(("precision", "stored"), [("64-true", torch.float64), ("bf16-mixed", torch.float32)])
def test_other_precisions(
    examples: list[Example], small: SurrogateSettings, tmp_path: Path, precision: str, stored: torch.dtype
) -> None:
    settings = small.model_copy(update={"members": 1, "precision": precision, "epochs": 2})
    model = train(examples[:20], targets=TARGETS, settings=settings, folder=tmp_path, progress=False)
    assert weights(tmp_path)["member.0.network.readout.score.weight"].dtype is stored
    again = Surrogate.load(tmp_path).predict([e.crystal for e in examples[20:24]])
    assert np.array_equal(again.mean, model.predict([e.crystal for e in examples[20:24]]).mean)
    assert np.isfinite(again.mean).all()


def test_early_stopping_watches_other_formulas(
    examples: list[Example], small: SurrogateSettings, tmp_path: Path
) -> None:
    epochs: list[int] = []
    settings = small.model_copy(update={"members": 1, "epochs": 60, "patience": 1, "learning_rate": 0.05})
    train(
        examples[:30], targets=TARGETS, settings=settings, folder=tmp_path, progress=False,
        logger=lambda metrics, epoch: epochs.append(epoch) if "member_0_watch_loss" in metrics else None,
    )  # fmt: skip
    assert 2 <= max(epochs) < 60


def test_one_labelled_structure_is_enough_to_run(
    examples: list[Example], small: SurrogateSettings, tmp_path: Path
) -> None:
    model = train(examples[1:2], targets=[FORMATION_ENERGY], settings=small, folder=tmp_path, progress=False)
    assert model.card["validation"][FORMATION_ENERGY] == {"mae": None, "rmse": None, "coverage_90": None, "n": 0}
    predictions = model.predict([examples[2].crystal])
    assert predictions.std[0, 0] > 0.1  # it knows that it knows nothing


def test_bad_labels_are_refused(examples: list[Example], small: SurrogateSettings, tmp_path: Path) -> None:
    def attempt(rows: list[Example], targets: list[str]) -> None:
        train(rows, targets=targets, settings=small, folder=tmp_path / "x", progress=False)

    with pytest.raises(DatasetError, match="0 examples"):
        attempt([], TARGETS)
    with pytest.raises(ConfigError, match="unknown quantity 'gapp'"):
        attempt(examples[:5], ["gapp"])
    with pytest.raises(DatasetError, match="none of the 5 examples has a label for 'gap_hse06'"):
        attempt(examples[:5], [FORMATION_ENERGY, "gap_hse06"])
    bad = Example(examples[0].crystal, {FORMATION_ENERGY: float("nan")}, "LiN")
    with pytest.raises(DatasetError, match="LiN: formation_energy_per_atom is nan"):
        attempt([bad], [FORMATION_ENERGY])
    assert not (tmp_path / "x").exists()


def test_what_decides_when_to_stop_is_of_other_formulas(
    examples: list[Example], small: SurrogateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every formula comes twice: a copy among the watched would be learned by heart through the other."""
    twice = [*examples[:30], *examples[:30]]
    tasks: list[MemberTask] = []

    def watched(network: Network, task: MemberTask, *more: object, **options: object) -> Network:
        tasks.append(task)
        return network.eval().requires_grad_(False)

    monkeypatch.setattr(_ensemble, "train_member", watched)
    settings = small.model_copy(update={"patience": 3})
    train(twice, targets=[FORMATION_ENERGY], settings=settings, folder=tmp_path, progress=False)
    for task in tasks:
        learned, watching = ({twice[i].group for i in rows} for rows in (task.rows, task.watch))
        assert learned and watching and not learned & watching
    single = [Example(e.crystal, e.targets, "one") for e in examples[:20]]
    train(single, targets=[FORMATION_ENERGY], settings=settings, folder=tmp_path / "one", progress=False)
    assert len(tasks[-1].rows) == 20 and not tasks[-1].watch


def test_sigterm_ends_training_as_asked(tmp_path: Path) -> None:
    """Lightning alone would finish the epoch and leave with exit status 0."""
    script = f"""
import numpy as np
from materia.crystal import Crystal
from materia.surrogate import Example, SurrogateSettings, train
crystal = Crystal.from_species(np.eye(3) * 3.5, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
settings = SurrogateSettings(channels=8, members=1, epochs=100_000, checkpoint_every=1, pretrained=None)
train([Example(crystal, {{"gap_pbe": 1.0}}, "CsCl")], targets=["gap_pbe"], settings=settings,
      folder={str(tmp_path)!r}, progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while not (tmp_path / "training/member-0.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=60) == -signal.SIGTERM
    assert not (tmp_path / "card.json").exists()
