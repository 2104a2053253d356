"""Structure files: read back what was written; say which file is bad."""

import json

import numpy as np
import pytest

from materia.crystal import Crystal, read_structures, structure_hash, write_structure
from materia.errors import ElementError, StructureError


@pytest.fixture
def crystal():
    return Crystal.from_species(
        [[3.19, 0, 0], [-1.595, 2.7626, 0], [0, 0, 5.19]],
        ["Ga", "Ga", "N", "N"],
        [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.376], [2 / 3, 1 / 3, 0.876]],
    )


@pytest.mark.parametrize("name", ["x.cif", "POSCAR", "x.vasp", "x.xyz", "x.extxyz", "x.json"])
def test_round_trip(crystal, tmp_path, name):
    write_structure(crystal, tmp_path / name)
    (again,) = read_structures(tmp_path / name)
    assert again.composition == crystal.composition
    assert again.volume == pytest.approx(crystal.volume, rel=1e-4)
    np.testing.assert_allclose(
        np.sort(again.to_ase().get_all_distances(mic=True).ravel()),
        np.sort(crystal.to_ase().get_all_distances(mic=True).ravel()),
        atol=1e-3,
    )


@pytest.mark.parametrize("name", ["POSCAR", "x.extxyz", "x.json"])
def test_formats_that_keep_the_cell_keep_the_hash(crystal, tmp_path, name):
    write_structure(crystal, tmp_path / name)
    assert structure_hash(read_structures(tmp_path / name)[0]) == structure_hash(crystal)


def test_pymatgen_json_and_json_lines(crystal, tmp_path):
    (tmp_path / "pmg.json").write_text(json.dumps(crystal.to_pymatgen().as_dict()))
    assert structure_hash(read_structures(tmp_path / "pmg.json")[0]) == structure_hash(crystal)
    rows = [{"id": "a", "structure": crystal.to_record()}, crystal.to_record()]
    (tmp_path / "many.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    assert [structure_hash(c) for c in read_structures(tmp_path / "many.jsonl")] == [structure_hash(crystal)] * 2


def test_a_cif_with_symmetry_is_expanded(tmp_path):
    (tmp_path / "nacl.cif").write_text(
        "data_NaCl\n_cell_length_a 5.70\n_cell_length_b 5.70\n_cell_length_c 5.70\n"
        "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n"
        "_symmetry_space_group_name_H-M 'F m -3 m'\n_symmetry_Int_Tables_number 225\n"
        "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n"
        "_atom_site_fract_z\nNa1 Na 0 0 0\nCl1 Cl 0.5 0.5 0.5\n"
    )
    (crystal,) = read_structures(tmp_path / "nacl.cif")
    assert crystal.composition == {"Cl": 4, "Na": 4}
    assert crystal.formula == "NaCl"


def test_overlap_in_a_cif_names_the_file(tmp_path):
    bad = Crystal.from_species(np.eye(3) * 5, ["Ga", "As"], [[0, 0, 0], [0.05, 0, 0]])
    path = tmp_path / "overlap.cif"
    write_structure(bad, path)
    with pytest.raises(StructureError, match="overlap") as caught:
        read_structures(path)
    assert str(path) in str(caught.value)
    assert "remedy" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.cif", "not a cif"),
        ("a.cif", ""),
        ("POSCAR", "one line"),
        ("a.json", "{"),
        ("a.json", "{}"),
        ("a.json", "[]"),
        ("a.jsonl", '{"lattice": 3}'),
    ],
)
def test_garbage_names_the_file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(StructureError) as caught:
        read_structures(path)
    assert str(path) in str(caught.value)


def test_an_unknown_element_in_a_record_names_file_and_symbol(tmp_path, crystal):
    record = crystal.to_record()
    record["species"][0] = "Qq"
    (tmp_path / "x.json").write_text(json.dumps(record))
    with pytest.raises(ElementError, match="'Qq'") as caught:
        read_structures(tmp_path / "x.json")
    assert "x.json" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StructureError, match="absent"):
        read_structures(tmp_path / "absent.cif")
