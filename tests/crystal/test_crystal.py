"""A crystal: arrays, records, conversions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from materia.crystal import Crystal, atomic_number, reduced_formula, shortest_distance, symbol, validate
from materia.errors import ElementError, StructureError

ZINCBLENDE = [[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]]


def gallium_arsenide() -> Crystal:
    return Crystal.from_species(ZINCBLENDE, ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]])


@st.composite
def crystals(draw):
    """Triclinic cells of 1 to 5 atoms anywhere in space."""
    n = draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    lattice = np.diag(rng.uniform(4, 9, 3)) + rng.uniform(-1.2, 1.2, (3, 3))
    return Crystal(lattice, rng.integers(1, 84, n), rng.uniform(-1.5, 1.5, (n, 3)))


def test_facts_by_hand():
    crystal = gallium_arsenide()
    assert crystal.volume == pytest.approx(5.6**3 / 4)
    assert crystal.composition == {"As": 1, "Ga": 1}
    assert crystal.formula == "GaAs"
    distance, *pair = shortest_distance(crystal)
    assert distance == pytest.approx(5.6 * 3**0.5 / 4)
    assert set(pair) == {"Ga", "As"}
    np.testing.assert_allclose(crystal.positions[1], [1.4, 1.4, 1.4])


def test_formulas_are_reduced_and_ordered_by_electronegativity():
    assert reduced_formula({"S": 4, "Cu": 2, "Ga": 2}) == "GaCuS2"
    assert reduced_formula({"O": 6, "Ti": 2, "Sr": 2}) == "SrTiO3"
    assert reduced_formula({"Si": 2}) == "Si"


@settings(deadline=None, max_examples=30)
@given(crystal=crystals())
def test_record_ase_and_pymatgen_give_the_crystal_back(crystal):
    for again in (
        Crystal.from_record(crystal.to_record()),
        Crystal.from_ase(crystal.to_ase()),
        Crystal.from_pymatgen(crystal.to_pymatgen()),
    ):
        np.testing.assert_allclose(again.lattice, crystal.lattice, atol=1e-7)
        np.testing.assert_allclose(again.frac_coords, crystal.frac_coords, atol=1e-7)
        np.testing.assert_array_equal(again.numbers, crystal.numbers)


@given(crystal=crystals(), volume=st.floats(5, 500))
def test_scaling_keeps_shape(crystal, volume):
    scaled = crystal.scaled_to_volume(volume)
    assert scaled.volume == pytest.approx(volume)
    np.testing.assert_allclose(
        np.linalg.inv(crystal.lattice) @ scaled.lattice, np.eye(3) * (volume / crystal.volume) ** (1 / 3), atol=1e-9
    )


@pytest.mark.parametrize(
    ("lattice", "numbers", "coords"),
    [
        (np.eye(2), [1], [[0, 0, 0]]),
        (np.eye(3), [], np.zeros((0, 3))),
        (np.eye(3), [1, 1], [[0, 0, 0]]),
        (np.zeros((3, 3)), [1], [[0, 0, 0]]),
        (np.diag([1, 1, np.nan]), [1], [[0, 0, 0]]),
        (np.eye(3), [1], [[0, 0, np.inf]]),
    ],
)
def test_what_is_no_crystal_is_refused(lattice, numbers, coords):
    with pytest.raises(StructureError):
        Crystal(np.array(lattice), np.array(numbers), np.array(coords))


def test_an_incomplete_record_names_what_is_missing():
    with pytest.raises(StructureError, match="species"):
        Crystal.from_record({"lattice": ZINCBLENDE, "frac_coords": [[0, 0, 0]]})
    with pytest.raises(ElementError, match="'Gx'"):
        Crystal.from_record({"lattice": ZINCBLENDE, "species": ["Gx"], "frac_coords": [[0, 0, 0]]})


def test_partly_occupied_sites_are_refused():
    from pymatgen.core import Lattice, Structure

    alloy = Structure(Lattice.cubic(5.0), [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="partly occupied"):
        Crystal.from_pymatgen(alloy)


def test_every_symbol_has_a_number():
    assert [symbol(atomic_number(s)) for s in ("H", "Ga", "Og")] == ["H", "Ga", "Og"]
    with pytest.raises(ElementError, match="did you mean"):
        atomic_number("Gaa")
    with pytest.raises(ElementError):
        symbol(0)


class TestValidity:
    def test_crystals_are_valid(self):
        assert validate(gallium_arsenide()) is not None

    def test_overlap_names_both_atoms_and_the_distance(self):
        crystal = Crystal.from_species(np.eye(3) * 5, ["Ga", "As"], [[0, 0, 0], [0.1, 0, 0]])
        with pytest.raises(StructureError, match=r"atoms 0 \(Ga\) and 1 \(As\) overlap: 0.50 Å"):
            validate(crystal)

    def test_overlap_across_the_cell_wall_is_seen(self):
        crystal = Crystal.from_species(np.eye(3) * 5, ["Ga", "As"], [[0.02, 0, 0], [0.98, 0, 0]])
        with pytest.raises(StructureError, match=r"0\.20 Å"):
            validate(crystal)

    def test_an_atom_may_not_overlap_its_own_image(self):
        crystal = Crystal.from_species(np.diag([1.0, 8.0, 8.0]), ["Ga"], [[0, 0, 0]])
        with pytest.raises(StructureError, match="overlap"):
            validate(crystal)

    def test_a_cell_in_nanometres_is_noticed(self):
        crystal = Crystal.from_species(np.array(ZINCBLENDE) / 10, ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]])
        with pytest.raises(StructureError, match="denser than any crystal"):
            validate(crystal)

    @settings(deadline=None, max_examples=30)
    @given(crystal=crystals())
    def test_shortest_distance_is_pymatgens(self, crystal):
        # relative to covalent radii the closest pair may differ; with one element it is the closest pair
        same = Crystal(crystal.lattice, np.full(crystal.n_atoms, 31), crystal.frac_coords)
        matrix = same.to_pymatgen().distance_matrix + np.diag(np.full(same.n_atoms, np.inf))
        images = np.linalg.norm(same.lattice, axis=1).min()
        assert shortest_distance(same)[0] <= min(matrix.min(), images) + 1e-6
