"""Training goes on from the round before: formulas stay in their folds, and a worse model is not kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from materia.quantities import FORMATION_ENERGY, GAP_PBE, quantity
from materia.surrogate import Example, Surrogate, SurrogateSettings, train
from materia.surrogate._folds import grouped_folds
from materia.surrogate._rounds import Earlier, going_on, relative_error

TARGETS = [FORMATION_ENERGY, GAP_PBE]


@pytest.fixture(scope="module")
def warm(small: SurrogateSettings) -> SurrogateSettings:
    return small.model_copy(update={"epochs": 20, "warm_epochs": 2})


def fit(rows: list[Example], settings: SurrogateSettings, folder: Path, previous: Path | None) -> Surrogate:
    return train(rows, targets=TARGETS, settings=settings, folder=folder, previous=previous, progress=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, examples: list[Example], warm: SurrogateSettings) -> Path:
    folder = tmp_path_factory.mktemp("rounds") / "0"
    fit(examples[:60], warm, folder, None)
    return folder


def test_groups_stay_in_their_folds_as_the_set_grows() -> None:
    names = [f"g{i}" for i in range(40)]
    before = dict(zip(names[:25], grouped_folds(names[:25], 5, 0).tolist(), strict=True))
    after = dict(zip(names, grouped_folds(names, 5, 1, before).tolist(), strict=True))
    assert all(after[name] == before[name] for name in before)
    assert np.bincount(list(after.values())).tolist() == [8] * 5


def test_a_round_goes_on_from_the_one_before(
    first: Path, examples: list[Example], warm: SurrogateSettings, tmp_path: Path
) -> None:
    before = Surrogate.load(first).card
    assert before["rounds"]["start"] == "beginning"
    card = fit(examples[:80], warm, tmp_path / "1", first).card
    assert {k: card["rounds"][k] for k in ("start", "since")} == {"start": "previous", "since": 60}
    dealt = card["rounds"]["folds"]
    assert all(dealt[name] == fold for name, fold in before["rounds"]["folds"].items())
    alone = fit(examples[:80], going_on(warm).model_copy(update={"warm_epochs": None}), tmp_path / "alone", None).card
    assert relative_error(card, alone, [quantity(t) for t in TARGETS]) < 0.9  # two epochs alone are far too few


def test_no_member_ever_learns_from_what_it_is_judged_by(
    first: Path, examples: list[Example], warm: SurrogateSettings, tmp_path: Path
) -> None:
    """Wild labels of one fold do not reach the member that leaves it out, in either round: its weights are the same."""
    kept = Surrogate.load(first).card["rounds"]["folds"]
    member_0 = []
    for name, wild in (("as_is", 0.0), ("wild", 100.0)):
        rows = [
            Example(e.crystal, {t: v + wild * (kept.get(e.group) == 0) for t, v in e.targets.items()}, e.group)
            for e in examples[:60]
        ]
        fit(rows, warm, tmp_path / name / "0", None)
        model = fit(rows, warm, tmp_path / name / "1", tmp_path / name / "0")
        assert model.card["rounds"]["start"] == "previous"
        member_0.append(model.members[0].network.state_dict())
    for key, value in member_0[0].items():
        assert value.equal(member_0[1][key]), key


def test_half_as_many_labels_again_are_learned_anew_too(
    first: Path, examples: list[Example], warm: SurrogateSettings, tmp_path: Path
) -> None:
    """From 60 to 90; of both trainings the one that errs less is kept."""
    rounds = fit(examples[:90], warm, tmp_path / "1", first).card["rounds"]
    assert rounds["since"] == 90
    assert rounds["start"] == ("beginning" if rounds["error_over_new"] > 1 else "previous")


def test_what_training_cannot_go_on_from(
    first: Path, examples: list[Example], warm: SurrogateSettings, tmp_path: Path
) -> None:
    quantities = [quantity(t) for t in TARGETS]
    full = warm.model_copy(update=warm.architecture())
    assert Earlier.usable(first, quantities, full) is not None
    assert Earlier.usable(tmp_path / "none", quantities, full) is None
    assert Earlier.usable(first, quantities[:1], full) is None
    for change in ({"warm_epochs": None}, {"members": 3}, {"channels": 12}, {"folds": 7}, {"left_out_by": 2}):
        assert Earlier.usable(first, quantities, full.model_copy(update=change)) is None
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "card.json").write_text((first / "card.json").read_text())
    assert Earlier.usable(damaged, quantities, full) is None


def test_nothing_is_kept_where_rounds_begin_anew(
    examples: list[Example], small: SurrogateSettings, tmp_path: Path
) -> None:
    card = fit(examples[:40], small.model_copy(update={"epochs": 1}), tmp_path / "m", None).card
    assert "rounds" not in card
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["card.json", "weights.safetensors"]
