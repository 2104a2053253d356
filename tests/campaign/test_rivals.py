"""Which compounds beside the pool its candidates are held against."""

from __future__ import annotations

from typing import Any

import pytest

from materia.campaign import CampaignSettings
from materia.campaign import _rivals as module
from materia.campaign._rivals import rivals_of
from materia.crystal import Crystal, same_phase
from materia.data import Dataset
from materia.record import Candidate
from materia.resources import resource
from materia.space import Pool, SpaceSettings, generate

SPACE = {"elements": ["Li", "Mg", "Zn", "N", "P"], "exclude": [], "prototypes": ["half-heusler"], "arity": [3]}


def settings(**changes: Any) -> CampaignSettings:
    content: dict[str, Any] = {
        "version": 1,
        "name": "rivals",
        "space": SPACE,
        "objectives": [{"quantity": "gap_pbe", "window": [0.5, 2.0]}],
        "constraints": [{"quantity": "energy_above_hull", "below": 0.05}],
        **changes,
    }
    return CampaignSettings.model_validate(content)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return generate(settings().space)


@pytest.fixture(scope="module")
def rivals(pool: Pool) -> Pool:
    found = rivals_of(settings(), pool, Dataset.empty(), None)
    assert found is not None
    return found


def test_they_are_made_of_what_a_candidate_is_made_of(pool: Pool, rivals: Pool) -> None:
    systems = [set(composition) for composition in pool.compositions]
    assert {"Li", "Mg", "N"} in systems
    assert {"Mg", "Zn"} | {"N", "P"} not in systems
    for candidate in rivals.candidates:
        assert any(set(candidate.crystal.elements) <= system for system in systems), candidate.id
    formulas = set(rivals.formulas)
    assert {"Li3N", "Mg3N2", "Zn3P2", "LiMgN"} <= formulas  # what LiMgN falls apart into, and its other structures
    assert not set(rivals.ids) & set(pool.ids)


def test_what_the_dataset_knows_is_not_predicted(pool: Pool, rivals: Pool) -> None:
    shipped = Dataset.load(resource("data/dataset"))
    left = rivals_of(settings(), pool, shipped, None)
    assert left is not None
    gone = set(rivals.ids) - set(left.ids)
    known = [entry for entry in shipped.computed if entry.id in {"Li3N-li3n"}]
    assert known
    assert {"Li3N-li3n"} <= gone
    for name in gone:
        crystal = rivals.crystal(rivals.index(name))
        assert any(e.formula == crystal.formula and same_phase(crystal, e.initial) for e in shipped.computed)


def test_a_candidate_from_a_file_is_not_its_own_rival(rivals: Pool) -> None:
    """Its cell is not quite that of the prototype; it is the same phase."""
    own = rivals.crystal(rivals.index("Li3N-li3n"))
    stretched = Candidate("mine", Crystal(own.lattice * 1.02, own.numbers, own.frac_coords), "file", {"file": "a.cif"})
    found = rivals_of(settings(), Pool.freeze([stretched]), Dataset.empty(), None)
    assert found is not None
    assert "Li3N-bif3" in found.ids
    assert "Li3N-li3n" not in found.ids


def test_known_phases_from_files_come_first(pool: Pool, rivals: Pool) -> None:
    mine = Candidate("from-a-file", rivals.crystal(rivals.index("Mg3N2-mg3sb2")), "file", {"file": "a.cif"})
    found = rivals_of(settings(), pool, Dataset.empty(), Pool.freeze([mine]))
    assert found is not None
    assert "from-a-file" in found.ids
    assert "Mg3N2-mg3sb2" not in found.ids


def test_too_many_are_cut_to_those_of_the_fewest_elements(
    pool: Pool, rivals: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", len(rivals) - 1)
    cut = rivals_of(settings(), pool, Dataset.empty(), None)
    assert cut is not None
    assert {len(composition) for composition in rivals.compositions} == {2, 3}
    assert cut.ids == [c.id for c in rivals.candidates if len(c.crystal.elements) == 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"search": {"hull": "known"}},
        {"constraints": []},
        {"constraints": [], "objectives": [{"quantity": "energy_above_hull", "goal": "minimize"}]},
        {"surrogate": None, "search": {"acquisition": "random"}},
    ],
)
def test_none_where_no_predicted_distance_is_measured_from_them(pool: Pool, changes: dict[str, Any]) -> None:
    assert rivals_of(settings(**changes), pool, Dataset.empty(), None) is None


def test_a_space_that_holds_every_prototype_has_few(rivals: Pool) -> None:
    """All that could be generated is in the pool already."""
    whole = settings(space={**SPACE, "prototypes": None, "arity": [2, 3]})
    assert rivals_of(whole, generate(SpaceSettings.model_validate(whole.space)), Dataset.empty(), None) is None
    assert len(rivals) > 20
