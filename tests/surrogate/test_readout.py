"""A Gaussian process over trained networks: exact, blind to what it is judged by, and a surrogate like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.metrics import roc_auc_score

from form_examples import ALL, HARDNESS, MOBILE, POLAR, SIZE
from form_examples import examples as of_forms
from materia.crystal import Crystal
from materia.data import Dataset
from materia.errors import ConfigError, DatasetError, ModelError
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.resources import resource
from materia.surrogate import Example, Prior, Surrogate, SurrogateSettings, told_of, train
from materia.surrogate import _regression as regression
from materia.surrogate._prior import centre_and_unit
from materia.surrogate._readout import Readout, Told
from materia.surrogate._trees import Trees, mixed, out_of_bag, share_of_second
from materia.surrogate.testing import SurrogateConformance
from surrogate_factory import perovskite

SETTINGS = SurrogateSettings(readout="gaussian_process", device="cpu", folds=4)
TARGETS = (FORMATION_ENERGY, GAP_PBE)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Surrogate:
    """Quantities per atom and per cell, on a linear and on a logarithmic scale."""
    names, folder = [SIZE.name, HARDNESS.name, MOBILE.name], tmp_path_factory.mktemp("forms")
    return train(of_forms(), targets=names, declared=ALL, settings=SETTINGS, folder=folder, progress=False)


class TestConformance(SurrogateConformance):
    @pytest.fixture
    def surrogate(self, numbers: Surrogate) -> Surrogate:
        return numbers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> Surrogate:
    folder = tmp_path_factory.mktemp("energies")
    return train(examples, targets=TARGETS, settings=SETTINGS, folder=folder, progress=False)


def test_it_says_what_another_program_says(examples: list[Example]) -> None:
    """scikit-learn's posterior at the same hyperparameters, the noise of a label included."""
    told, _ = told_of(Surrogate.load(resource("data/weights/base"), device="cpu"), [e.crystal for e in examples])
    y = np.array([e.targets.get(GAP_PBE, np.nan) for e in examples])
    mine, rest = Told(told.raw[:60], told.ends), told.raw[60:]
    readout = Readout.fitted(told.scales(), mine, y[:60, None], seed=0)
    mean, std = readout.read(rest)
    x, known, prior = (told.raw - readout.centre) / readout.unit, ~np.isnan(y[:60]), readout.priors[0]
    assert known.sum() < 60  # a missing label is none
    theirs = GaussianProcessRegressor(prior.kernel, optimizer=None)
    theirs.fit(x[:60][known], (y[:60][known] - prior.middle) / prior.scale)
    wanted, spread = theirs.predict(x[60:], return_std=True)
    np.testing.assert_allclose(mean[:, 0], wanted * prior.scale + prior.middle, atol=1e-8)
    np.testing.assert_allclose(std[:, 0], spread * prior.scale, atol=1e-6)


def test_what_is_judged_by_a_label_has_not_seen_it(tmp_path: Path, model: Surrogate, examples: list[Example]) -> None:
    """A label changed beyond all measure changes nothing that is predicted of its own fold."""
    group = examples[7].group
    changed = [replace(e, targets={**e.targets, FORMATION_ENERGY: 5.0}) if e.group == group else e for e in examples]
    other = train(changed, targets=TARGETS, settings=SETTINGS, folder=tmp_path, progress=False)
    before, after = (m.card["parity"][FORMATION_ENERGY] for m in (model, other))
    k = before["group"].index(group)
    assert after["group"] == before["group"]
    assert after["observed"][k] == 5.0
    assert after["predicted"][k] == before["predicted"][k]
    assert after["predicted"] != before["predicted"]  # those of other folds have seen it
    assert model.card["split"]["same_group"] == 0


def test_the_card_is_that_of_a_surrogate(model: Surrogate, examples: list[Example]) -> None:
    card = model.card
    said = card["validation"][FORMATION_ENERGY]
    assert said["n"] == len(examples) == 100
    spread = float(np.std([e.targets[FORMATION_ENERGY] for e in examples]))
    assert said["mae"] < 0.5 * spread
    assert 0.8 <= said["coverage_90"] <= 1.0
    assert card["settings"]["readout"] == "gaussian_process"
    assert len(card["unseen"]) == len(model.members) == 2
    assert all(unseen["n"] == 100 for unseen in card["unseen"])
    found = model.predict([e.crystal for e in examples])
    assert found.in_domain.all()
    assert not model.drift(model.remoteness(found), [e.group for e in examples]).alarm


def test_intervals_are_wide_where_nothing_is_known(model: Surrogate, examples: list[Example]) -> None:
    known = [e.crystal for e in examples if e.group == "LiF"]
    strange = perovskite("La", "Mn", "O", 3.9)  # three elements, two of them new
    std = model.predict([*known, strange]).column(FORMATION_ENERGY)[1]
    assert std[-1] > 1.5 * std[0]


def test_the_same_again(tmp_path: Path, model: Surrogate, examples: list[Example]) -> None:
    again = train(examples, targets=TARGETS, settings=SETTINGS, folder=tmp_path, progress=False)
    assert again.card["weights_sha256"] == model.card["weights_sha256"]


def test_it_reads_out_another_ones_networks(tmp_path: Path, numbers: Surrogate, examples: list[Example]) -> None:
    """A model that reads networks out is a model to start from too."""
    numbers.save(tmp_path / "first")
    settings = SETTINGS.model_copy(update={"pretrained": str(tmp_path / "first")})
    second = train(examples, targets=TARGETS, settings=settings, folder=tmp_path / "second", progress=False)
    assert second.networks_card == numbers.networks_card
    loaded = Surrogate.load(tmp_path / "second", device="cpu")
    crystals = [e.crystal for e in examples[:5]]
    np.testing.assert_array_equal(loaded.predict(crystals).mean, second.predict(crystals).mean)


def test_metals_are_learned_apart(tmp_path: Path) -> None:
    """Whether there is a gap, and how large: the same after a file, for a supercell, and right about most metals."""
    computed = Dataset.load(resource("data/dataset")).computed
    examples = [Example(e.initial, {GAP_PBE: e.values()[GAP_PBE]}, e.formula) for e in computed]
    order = np.random.default_rng(0).permutation(len(examples))
    known, rest = [examples[i] for i in order[:160]], [examples[i] for i in order[160:]]
    model = train(known, targets=(GAP_PBE,), settings=SETTINGS, folder=tmp_path, progress=False)
    crystals = [e.crystal for e in rest]
    found = model.predict(crystals)
    chance, mean, std = found.hurdles[GAP_PBE]
    gaps = np.array([e.targets[GAP_PBE] for e in rest])
    judged = roc_auc_score(gaps > 0, chance)
    assert judged > 0.85
    assert np.abs(mean - gaps)[gaps > 0].mean() < 0.8 * np.abs(gaps - gaps.mean())[gaps > 0].mean()
    assert (std > 0).all() and ((chance >= 0) & (chance <= 1)).all()
    again = Surrogate.load(tmp_path, device="cpu").predict(crystals)
    for one, other in zip(found.hurdles[GAP_PBE], again.hurdles[GAP_PBE], strict=True):
        np.testing.assert_array_equal(one, other)
    cell = crystals[0]
    twice = Crystal(
        cell.lattice * np.array([[2.0], [1.0], [1.0]]),
        np.tile(cell.numbers, 2),
        np.concatenate([cell.frac_coords + np.array([shift, 0, 0]) for shift in (0, 1)]) / [2, 1, 1],
    )
    doubled = model.predict([twice]).hurdles[GAP_PBE]
    for one, other in zip(found.hurdles[GAP_PBE], doubled, strict=True):
        assert other[0] == pytest.approx(one[0], abs=1e-4)


def test_where_nothing_lies_at_a_bound_nothing_is_learned_apart(numbers: Surrogate, examples: list[Example]) -> None:
    assert not numbers.predict([examples[0].crystal]).hurdles


def test_a_card_of_another_readout_is_refused(tmp_path: Path, model: Surrogate) -> None:
    model.save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    damages: list[dict[str, object]] = [
        {"priors": [{"ends": [1, 2]}]},
        {"priors": []},
        {"networks": {}},
        {"hurdles": [2]},
        {"priors": [None, None], "trees": 0},  # neither a process nor trees
    ]
    for damage in damages:
        (tmp_path / "card.json").write_text(json.dumps({**card, "readout": {**card["readout"], **damage}}))
        with pytest.raises(ModelError, match="do not fit the card"):
            Surrogate.load(tmp_path, device="cpu")


def test_what_it_cannot_learn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(settings: SurrogateSettings, *names: str) -> None:
        train(of_forms(), targets=names, declared=ALL, settings=settings, folder=tmp_path, progress=False)

    with pytest.raises(ConfigError, match=r"learns numbers: not polar \(class\)") as caught:
        learn(SETTINGS, SIZE.name, POLAR.name)
    assert "readout: network" in caught.value.remedy
    with pytest.raises(ConfigError, match="without any"):
        learn(SETTINGS.model_copy(update={"pretrained": None}), SIZE.name)
    monkeypatch.setattr(regression, "MOST", 47)
    with pytest.raises(DatasetError, match=r"48 labelled structures are too many .* \(at most 47\)"):
        learn(SETTINGS, SIZE.name)
    with pytest.raises(ValidationError, match="pretrained is null"):
        SurrogateSettings(readout="gaussian_process", pretrained=None)


@pytest.mark.parametrize("groups", [1, 6])
def test_few_labels_are_no_reason_to_fail(tmp_path: Path, examples: list[Example], groups: int) -> None:
    """One formula, which nothing can be left out of; and a quantity that only one formula is labelled with."""
    some = [replace(e, group=examples[k % groups].group) for k, e in enumerate(examples[:6])]
    some = [replace(e, targets={FORMATION_ENERGY: e.targets[FORMATION_ENERGY]}) for e in some]
    some[2] = replace(some[2], targets={**some[2].targets, GAP_PBE: 1.25})
    model = train(some, targets=TARGETS, settings=SETTINGS, folder=tmp_path, progress=False)
    found = model.predict([e.crystal for e in some])
    assert np.isfinite(found.mean).all()
    assert (found.std > 0).all()
    assert found.column(GAP_PBE)[0][2] == pytest.approx(1.25)


def test_columns_of_rounding_are_not_blown_up() -> None:
    rng = np.random.default_rng(0)
    part = np.column_stack([rng.normal(size=9), np.full(9, 0.1, dtype=np.float32) + 1e-9 * rng.normal(size=9)])
    centre, unit = centre_and_unit(part)
    told = (part - centre) / unit
    assert (told[:, 1] == 0).all()
    assert (told[:, 0] ** 2).mean() == pytest.approx(1 / 2)


def test_one_label_is_its_own_mean() -> None:
    prior = Prior.fitted((1, 2, 3), np.zeros((1, 3)), np.array([2.5]))
    assert (prior.middle, prior.scale) == (2.5, 1.0)
    assert Prior.from_json(prior.to_json()) == prior


def test_the_process_and_its_trees(examples: list[Example]) -> None:
    """Both say their share; a single label is left to the process."""
    told, _ = told_of(Surrogate.load(resource("data/weights/base"), device="cpu"), [e.crystal for e in examples])
    y = np.array([[e.targets[FORMATION_ENERGY], np.nan] for e in examples])
    y[3, 1] = 1.0
    mine, rest = Told(told.raw[:60], told.ends), told.raw[60:]
    alone, both = (Readout.fitted(told.scales(), mine, y[:60], seed=1, trees=count) for count in (0, 30))
    x = (told.raw - alone.centre) / alone.unit
    forest = ExtraTreesRegressor(30, max_features=0.3, random_state=1).fit(x[:60], y[:60, 0])
    each = np.array([tree.predict(x[60:].astype(np.float32)) for tree in forest.estimators_])
    mean, std = each.mean(axis=0), each.std(axis=0) + 0.1 * y[:60, 0].std()
    (first, spread), (found, wide) = alone.read(rest), both.read(rest)
    w, none = both.shares
    assert (0 < w < 1, none, alone.shares) == (True, 0.0, (0.0, 0.0))
    np.testing.assert_allclose(found[:, 0], (1 - w) * first[:, 0] + w * mean, rtol=1e-9)
    apart = w * (1 - w) * (first[:, 0] - mean) ** 2
    np.testing.assert_allclose(wide[:, 0] ** 2, (1 - w) * spread[:, 0] ** 2 + w * std**2 + apart, rtol=1e-9)
    np.testing.assert_array_equal(found[:, 1], first[:, 1])
    again = Readout.from_file(both.tensors(), json.loads(json.dumps(both.card())))
    np.testing.assert_array_equal(again.read(rest)[0], found)
    before = {key: both.card()[key] for key in ("priors", "hurdles")}  # of a file that was written without trees
    np.testing.assert_array_equal(Readout.from_file(both.tensors(), before).read(rest)[0], first)


def test_what_is_said_of_labels_left_out_is_what_the_others_say(examples: list[Example]) -> None:
    told, _ = told_of(Surrogate.load(resource("data/weights/base"), device="cpu"), [e.crystal for e in examples])
    centre, unit = told.scales()
    x, y = (told.raw - centre) / unit, np.array([e.targets[FORMATION_ENERGY] for e in examples])
    prior = Prior.fitted(told.ends, x[:40], y[:40])
    mean, std = prior.left_out(x[:40], y[:40])
    for k in (0, 17):
        others = np.delete(np.arange(40), k)
        theirs = GaussianProcessRegressor(prior.kernel, optimizer=None)
        theirs.fit(x[others], (y[others] - prior.middle) / prior.scale)
        said, spread = theirs.predict(x[[k]], return_std=True)
        assert mean[k] == pytest.approx(said[0] * prior.scale + prior.middle, abs=1e-6)
        assert std[k] == pytest.approx(spread[0] * prior.scale, rel=1e-5)


def test_trees_say_nothing_of_a_label_they_were_grown_from() -> None:
    """A label beyond all measure changes what is said of others, and of itself nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    y = x[:, 0] + rng.normal(scale=0.1, size=50)
    changed = np.where(np.arange(50) == 7, 100.0, y)
    (before, _), (after, _) = (out_of_bag(x, values, seed=3, count=100) for values in (y, changed))
    assert np.abs(before - y).mean() < 0.6 * np.abs(y - y.mean()).mean()
    assert before[7] == pytest.approx(after[7], abs=1.0)  # splits of other trees may move
    assert np.abs(after - before).max() > 1


def test_who_errs_less_is_believed_more() -> None:
    """Two labels of 0, which the first expects at 0 ± 1 and the second at 0 ± 1/2, twice as dense there: weights w of
    the second are likely as (1 + w)², so 17/28 is to be expected; the sum over twenty comes close."""
    values, one = np.zeros(2), np.ones(2)
    assert share_of_second((values, one), (values, one / 2), values) == pytest.approx(17 / 28, abs=2e-3)
    assert share_of_second((values, one), (values, one), values) == pytest.approx(0.5)
    many = np.zeros(200)
    sure, off = (many, np.ones(200)), (many + 3, np.ones(200))
    assert share_of_second(sure, off, many) < 0.05 < 0.95 < share_of_second(off, sure, many)


def test_a_mixture_by_hand() -> None:
    """A quarter of 2 ± 1 and three quarters of 0 ± 1: 0.5, with variance 1 and 3/16 of 4 for their being apart."""
    mean, std = mixed((np.zeros(1), np.ones(1)), (np.full(1, 2.0), np.ones(1)), 0.25)
    assert (mean[0], std[0] ** 2) == pytest.approx((0.5, 1.75))


def test_a_chance_by_hand() -> None:
    """Structures that nothing tells apart, three of four with a gap: every leaf says 3/4, and half a tree says yes and
    half a tree no; where all have one, no number of trees makes it certain."""
    x, mixed_up = np.zeros((8, 2)), np.arange(8) % 4 > 0
    chances = Trees.of_yes_or_no(x, mixed_up, seed=0, count=10).chance(x[:3])
    np.testing.assert_allclose(chances, (10 * 0.75 + 0.5) / 11)
    sure = Trees.of_yes_or_no(x, np.ones(8, dtype=bool), seed=0, count=10).chance(x[:1])
    np.testing.assert_allclose(sure, 10.5 / 11)


@pytest.mark.parametrize("trees", [0, 20])
def test_whether_there_is_more_than_the_bound_is_left_to_trees(examples: list[Example], trees: int) -> None:
    """Of labels 0 and 1 a chance is mean and p(1 - p) the variance; a process has its say only where no trees are."""
    told, _ = told_of(Surrogate.load(resource("data/weights/base"), device="cpu"), [e.crystal for e in examples])
    y = np.maximum([[e.targets[FORMATION_ENERGY] + 2.5] for e in examples], 0.0)
    assert 8 <= (y == 0).sum() <= len(y) - 8
    readout = Readout.fitted(told.scales(), told, y, seed=3, bounds=[0.0], trees=trees)
    assert (readout.hurdles, readout.priors[1] is None) == ((0,), trees > 0)
    mean, std = readout.read(told.raw)
    chance = mean[:, 1]
    np.testing.assert_allclose(std[:, 1] ** 2, chance * (1 - chance))
    assert chance[y[:, 0] > 0].min() > 0.5 > chance[y[:, 0] == 0].max()
    if trees:
        x = (told.raw - readout.centre) / readout.unit
        np.testing.assert_array_equal(chance, Trees.of_yes_or_no(x, y[:, 0] > 0, 3, trees).chance(x))
    again = Readout.from_file(readout.tensors(), json.loads(json.dumps(readout.card())))
    np.testing.assert_array_equal(again.read(told.raw)[0], mean)
