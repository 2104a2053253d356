"""When two structures are the same calculation, and when they share a prototype."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from materia.crystal import Crystal, prototype_label, same_phase, structure_hash


def chalcopyrite(u: float = 0.2539) -> Crystal:
    """CuGaS2, primitive."""
    a, c = 5.35, 10.48
    lattice = np.array([[-a, a, c], [a, -a, c], [a, a, -c]]) / 2
    sites = [(0, 0, 0), (0, 0.5, 0.25), (0, 0, 0.5), (0, 0.5, 0.75)]
    sites += [(u, 0.25, 0.125), (1 - u, 0.75, 0.125), (0.75, u, 0.875), (0.25, 1 - u, 0.875)]
    frac = [(y + z, x + z, x + y) for x, y, z in sites]
    return Crystal.from_species(lattice, ["Cu", "Cu", "Ga", "Ga", *["S"] * 4], frac)


@given(order=st.permutations(range(8)), shifts=st.lists(st.integers(-3, 3), min_size=24, max_size=24))
def test_hash_ignores_the_order_of_atoms_and_lattice_translations(order, shifts):
    crystal = chalcopyrite()
    moved = crystal.frac_coords + np.array(shifts).reshape(8, 3)
    again = Crystal(crystal.lattice, crystal.numbers[list(order)], moved[list(order)])
    assert structure_hash(again) == structure_hash(crystal)


def test_hash_ignores_float_noise_and_minus_zero():
    crystal = chalcopyrite()
    rng = np.random.default_rng(0)
    for _ in range(20):
        noisy = Crystal(
            crystal.lattice + rng.normal(0, 1e-10, (3, 3)),
            crystal.numbers,
            crystal.frac_coords + rng.normal(0, 1e-10, (8, 3)),
        )
        assert structure_hash(noisy) == structure_hash(crystal)


@given(strain=st.floats(1e-3, 0.1), axis=st.integers(0, 2), sign=st.sampled_from([-1, 1]))
def test_hash_changes_under_strain(strain, axis, sign):
    crystal = chalcopyrite()
    stretched = crystal.lattice.copy()
    stretched[:, axis] *= 1 + sign * strain
    assert structure_hash(Crystal(stretched, crystal.numbers, crystal.frac_coords)) != structure_hash(crystal)


@given(atom=st.integers(0, 7), axis=st.integers(0, 2), by=st.floats(1e-4, 0.1))
def test_hash_changes_when_an_atom_moves(atom, axis, by):
    crystal = chalcopyrite()
    moved = crystal.frac_coords.copy()
    moved[atom, axis] += by
    assert structure_hash(Crystal(crystal.lattice, crystal.numbers, moved)) != structure_hash(crystal)


def test_hash_tells_species_apart():
    crystal = chalcopyrite()
    swapped = Crystal(crystal.lattice, np.where(crystal.numbers == 31, 49, crystal.numbers), crystal.frac_coords)
    assert structure_hash(swapped) != structure_hash(crystal)


def test_hash_is_the_same_on_every_machine():
    crystal = Crystal.from_species([[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]], ["Ga", "As"], [[0] * 3, [0.25] * 3])
    assert structure_hash(crystal) == "2beb4d3c71cb609d"


def test_label_of_known_structures():
    assert prototype_label(chalcopyrite()) == "ABC2_122_a_b_d"
    copper = Crystal.from_species([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]], ["Cu"], [[0, 0, 0]])
    assert prototype_label(copper) == "A_225_a"


@settings(deadline=None, max_examples=20)
@given(numbers=st.permutations([11, 29, 31, 47, 13, 49]))
def test_label_leaves_chemistry_out(numbers):
    crystal = chalcopyrite()
    other = np.array([*[numbers[0]] * 2, *[numbers[1]] * 2, *[34] * 4])
    assert prototype_label(Crystal(crystal.lattice, other, crystal.frac_coords)) == "ABC2_122_a_b_d"


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.9, 1.1))
def test_label_survives_rotation_and_scaling(seed, scale):
    crystal = chalcopyrite()
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    turned = Crystal(crystal.lattice @ q * scale, crystal.numbers, crystal.frac_coords)
    assert prototype_label(turned) == prototype_label(crystal)


def test_label_of_a_supercell_is_that_of_the_primitive_cell():
    crystal = chalcopyrite()
    double = Crystal(
        crystal.lattice * np.array([[2], [1], [1]]),
        np.tile(crystal.numbers, 2),
        np.vstack([crystal.frac_coords * [0.5, 1, 1], crystal.frac_coords * [0.5, 1, 1] + [0.5, 0, 0]]),
    )
    assert prototype_label(double) == prototype_label(crystal)


def test_label_notices_a_distortion_beyond_its_tolerance():
    crystal = chalcopyrite()
    moved = crystal.frac_coords.copy()
    moved[0, 0] += 0.03
    assert prototype_label(Crystal(crystal.lattice, crystal.numbers, moved)) != prototype_label(crystal)
    nearly = crystal.frac_coords.copy()
    nearly[0, 0] += 1e-4
    assert prototype_label(Crystal(crystal.lattice, crystal.numbers, nearly)) == prototype_label(crystal)


def test_the_same_phase_in_another_cell_and_size_is_recognised():
    crystal = chalcopyrite()
    # another primitive cell of the same lattice: b -> b + a
    change = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    other = Crystal(change @ crystal.lattice * 1.04, crystal.numbers, crystal.frac_coords @ np.linalg.inv(change))
    assert structure_hash(other) != structure_hash(crystal)
    assert same_phase(crystal, other)
    assert same_phase(crystal, chalcopyrite(u=0.25))
    numbers = np.array([29, 31, 29, 31, 16, 16, 16, 16])  # copper and gallium ordered otherwise
    assert not same_phase(crystal, Crystal(crystal.lattice, numbers, crystal.frac_coords))
    assert not same_phase(
        crystal, Crystal(crystal.lattice, np.where(crystal.numbers == 16, 34, crystal.numbers), crystal.frac_coords)
    )
