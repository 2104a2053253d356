"""What calibrations know, what a split keeps apart, and how both arise in a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from materia.crystal import Crystal, structure_type
from materia.quantities import FORMATION_ENERGY, GAP_PBE, Form, quantity
from materia.surrogate import Example, Surrogate, SurrogateSettings, train
from materia.surrogate._drift import BEYOND
from materia.surrogate._evidence import APART, DISTANCE, HEIGHT, SPREAD, Evidence
from materia.surrogate._layout import Layout
from materia.surrogate._split import new_type_error, split_report, structure_types
from surrogate_factory import rocksalt, zincblende

LAYOUT = Layout((Form.SCALAR, Form.SCALAR))


def test_evidence_by_hand() -> None:
    """Two members say 1 and 4 of one quantity, 2 and 2 of the other; their replicas spread by 0.3 and 0.4."""
    columns = np.array([[[1.0, 2.0]], [[4.0, 2.0]]])
    spreads = np.array([[[0.3, 0.3]], [[0.4, 0.4]]])
    found = Evidence.of(columns, spreads, np.array([[1.0], [2.0]]), LAYOUT)
    gap = found.features(quantity(GAP_PBE), 0)[0]
    assert gap[[DISTANCE, APART, HEIGHT]] == pytest.approx([1.5, 3.0, 2.5])  # a gap is not below 0
    assert gap[SPREAD] == pytest.approx(np.sqrt((0.09 + 0.16) / 2))
    assert gap[4:] == pytest.approx([2.5, 2.0])
    other = found.features(quantity(FORMATION_ENERGY), 1)[0]
    assert other[[APART, HEIGHT]] == pytest.approx([0.0, 0.0])  # it has no bound


def test_the_difference_between_members_does_not_grow_with_their_number() -> None:
    said = np.random.default_rng(0).normal(size=(8, 4000, 2))
    found = [Evidence.of(said[:m], np.abs(said[:m]), np.ones((m, 4000)), LAYOUT).apart for m in (1, 2, 8)]
    assert (found[0] == 0).all()
    for apart in found[1:]:
        assert np.sqrt((apart**2).mean()) == pytest.approx(np.sqrt(2), rel=0.03)


def test_parts_of_evidence_are_put_together_in_order() -> None:
    one = Evidence.of(np.ones((1, 2, 2)), np.zeros((1, 2, 2)), np.ones((1, 2)), LAYOUT)
    two = Evidence.of(np.zeros((2, 1, 2)), np.zeros((2, 1, 2)), np.zeros((2, 1)), LAYOUT)
    both = Evidence.joined([one, two], LAYOUT)
    assert both.members.tolist() == [1, 1, 2]
    assert both.of_rows(np.array([2, 0])).distance.tolist() == [0.0, 1.0]
    assert len(Evidence.joined([], LAYOUT).distance) == 0


def test_a_split_tells_what_it_keeps_apart() -> None:
    rows = [
        rocksalt("Na", "Cl", 5.6),
        rocksalt("K", "Cl", 6.3),
        zincblende("Ga", "As", 5.65),
        rocksalt("Na", "Cl", 5.7),
    ]
    examples = [Example(c, {GAP_PBE: 1.0}, c.formula) for c in rows]
    types = structure_types(examples)
    apart = np.array([[False, True, True, False]])
    report, new = split_report(examples, types, apart, np.array([1, 2]))
    assert report == {"left_out": 2, "same_group": 0, "same_structure_type": 1}
    assert new.tolist() == [False, True]  # rocksalt is known, zincblende is not
    torn = np.array([[True, False, False, False]])
    assert split_report(examples, types, torn, np.array([0]))[0]["same_group"] == 1
    parity = {"observed": [1.0, 3.0], "predicted": [1.5, 1.0]}
    assert new_type_error(parity, new) == {"mae_new_type": 2.0, "n_new_type": 1}
    assert new_type_error(parity, np.zeros(2, dtype=bool)) == {}


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory, examples: list[Example], small: SurrogateSettings) -> Surrogate:
    settings = small.model_copy(update={"members": 3, "folds": 12, "left_out_by": 2})
    targets = [FORMATION_ENERGY, GAP_PBE]
    folder: Path = tmp_path_factory.mktemp("paired")
    return train(examples, targets=targets, settings=settings, folder=folder, progress=False)


def test_pairs_judge_a_quarter_of_the_formulas(paired: Surrogate, examples: list[Example]) -> None:
    """Of twelve folds three are left out, each by two of three members, whose mean says what the card compares."""
    card = paired.card
    assert card["split"]["left_out"] == pytest.approx(len(examples) / 4, abs=3)
    assert card["split"]["same_group"] == 0
    assert card["validation"][FORMATION_ENERGY]["n"] == card["split"]["left_out"]
    assert sum(u["n"] for u in card["unseen"]) == 2 * card["split"]["left_out"]
    again = paired.predict([e.crystal for e in examples])
    assert np.isfinite(again.std).all() and (again.std > 0).all()


def test_an_element_never_seen_is_beyond_all(paired: Surrogate) -> None:
    pool = [rocksalt("Na", "Cl", 5.6), rocksalt("La", "Sb", 6.4)]
    remote = paired.remoteness(paired.predict(pool))
    assert remote[0] < 1.0
    assert remote[1] == 1.0
    strange = [rocksalt("La", x, 6.0) for x in ("N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te")]
    found = paired.predict(strange)
    assert paired.drift(paired.remoteness(found), [c.formula for c in strange]).alarm


def test_left_out_formulas_of_an_element_of_their_own_are_beyond_all_too(
    tmp_path: Path, examples: list[Example], small: SurrogateSettings
) -> None:
    """Or a pool with as many rare elements as the training set would raise the alarm."""
    rare = [Example(c, {GAP_PBE: 1.0}, c.formula) for c in (rocksalt(x, "O", 5.0) for x in ("La", "Y", "Lu", "Sc"))]
    settings = small.model_copy(update={"epochs": 1})
    model = train([*examples, *rare], targets=[GAP_PBE], settings=settings, folder=tmp_path, progress=False)
    farthest = [u["quantiles"][-1] for u in model.card["unseen"]]
    assert max(farthest) == BEYOND
    assert model.card["domain_distance"] < BEYOND / 10


def test_structure_types() -> None:
    assert structure_type(rocksalt("Na", "Cl", 5.64)) == "AB_225_4_4"
    assert structure_type(zincblende("Ga", "As", 5.65)) == structure_type(zincblende("Zn", "S", 5.4)) == "AB_216_4_4"


def test_a_structure_type_does_not_depend_on_the_origin_or_the_cell() -> None:
    """Zincblende's two sites are named a and c or c and d as the origin falls; their sizes stay."""
    cell = zincblende("Ga", "As", 5.65)
    moved = Crystal(cell.lattice, cell.numbers, (cell.frac_coords + 0.25) % 1.0)
    assert structure_type(moved) == structure_type(cell)
    doubled = Crystal(
        cell.lattice * np.array([[2.0], [1.0], [1.0]]),
        np.concatenate([cell.numbers, cell.numbers]),
        np.vstack([cell.frac_coords * [0.5, 1, 1], cell.frac_coords * [0.5, 1, 1] + [0.5, 0, 0]]),
    )
    assert structure_type(doubled) == structure_type(cell)
