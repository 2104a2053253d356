"""Formation energies from element references."""

import json

import pytest

from materia.errors import DatasetError, ElementError
from materia.resources import resource
from materia.stability import References

DOCUMENT = {
    "level": "standard",
    "level_hash": "0123456789abcdef",
    "elements": {
        "Mg": {"energy_per_atom": -1.5, "phase": "hcp", "job": "k1"},
        "O": {"energy_per_atom": -4.9, "phase": "dimer"},
        "Si": {
            "energy_per_atom": -5.4,
            "phase": "diamond",
            "structure": {
                "lattice": [[0, 2.73, 2.73], [2.73, 0, 2.73], [2.73, 2.73, 0]],
                "species": ["Si", "Si"],
                "frac_coords": [[0, 0, 0], [0.25, 0.25, 0.25]],
            },
        },
    },
}


@pytest.fixture
def references(tmp_path):
    path = tmp_path / "references.json"
    path.write_text(json.dumps(DOCUMENT))
    return References.load(path)


def test_formation_energy_by_hand(references):
    # MgO at -6.2 eV/atom: -6.2 - (-1.5 - 4.9) / 2 = -3.0
    assert references.formation_energy_per_atom({"Mg": 1, "O": 1}, -6.2) == pytest.approx(-3.0)
    # SiO2: -7.9 - (-5.4 - 9.8) / 3
    assert references.formation_energy_per_atom({"Si": 2, "O": 4}, -7.9) == pytest.approx(-7.9 + 15.2 / 3)
    assert references.formation_energy_per_atom({"Si": 2}, -5.4) == pytest.approx(0.0)


def test_structure_is_a_crystal(references):
    assert references.elements["Si"].crystal.formula == "Si"
    assert references.elements["Mg"].phase == "hcp"


def test_missing_element_says_which(references):
    with pytest.raises(ElementError, match="Ga at level 'standard'"):
        references.formation_energy_per_atom({"Ga": 1, "O": 1}, -3.0)


def test_another_level_is_refused(references):
    same = references.formation_energy_per_atom({"Mg": 1, "O": 1}, -6.2, level_hash="0123456789abcdef")
    assert same == pytest.approx(-3.0)
    with pytest.raises(DatasetError, match="ffff"):
        references.formation_energy_per_atom({"Mg": 1, "O": 1}, -6.2, level_hash="ffff")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"level": "standard"}', '{"elements": {"Si": {}}}'])
def test_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "references.json"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        References.load(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match="absent"):
        References.load(tmp_path / "absent.json")


def test_what_is_saved_is_what_is_read(references, tmp_path):
    shipped = References.default()
    for one in (references, shipped):
        one.save(tmp_path / "again.json")
        again = References.load(tmp_path / "again.json")
        assert (again.level, again.level_hash, again.pseudopotentials) == (
            one.level,
            one.level_hash,
            one.pseudopotentials,
        )
        assert dict(again.card) == dict(one.card)
        assert again.elements.keys() == one.elements.keys()
        for symbol, row in one.elements.items():
            twin = again.elements[symbol]
            assert (twin.energy_per_atom, twin.phase, twin.recipe, twin.job) == (
                row.energy_per_atom,
                row.phase,
                row.recipe,
                row.job,
            )
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(resource("data/references.json").read_text())


def test_every_shipped_reference_can_be_computed_again():
    """Its phase, recipe and structure are there, so that another level can begin from them."""
    for symbol, row in References.default().elements.items():
        assert row.recipe in ("relax", "static", "molecule"), symbol
        assert row.crystal is not None and set(row.crystal.elements) == {symbol}
