from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from materia.crystal import Crystal
from materia.data import Dataset
from materia.errors import ConfigError, EngineError
from materia.resources import resource
from materia.simulation import ROUGH, STANDARD, cost_features, estimate_seconds, make_job
from materia.simulation._kpoints import grid_size, irreducible_kpoints
from materia.stability import References

pytestmark = pytest.mark.gpaw
pytest.importorskip("gpaw_data", reason="the PAW datasets of GPAW are not installed")

GAAS = Crystal.from_ase(bulk("GaAs", "zincblende", a=5.75))


def test_equal_calculations_have_equal_keys_whatever_the_order_of_atoms() -> None:
    swapped = Crystal(GAAS.lattice, GAAS.numbers[::-1], GAAS.frac_coords[::-1] + 1.0)
    assert make_job("relax", GAAS, STANDARD).key == make_job("relax", swapped, STANDARD, name="x").key


def test_another_recipe_level_or_geometry_is_another_calculation() -> None:
    key = make_job("relax", GAAS, STANDARD).key
    strained = Crystal(GAAS.lattice * 1.001, GAAS.numbers, GAAS.frac_coords)
    others = {
        make_job("gap", GAAS, STANDARD).key,
        make_job("relax", GAAS, ROUGH).key,
        make_job("relax", strained, STANDARD).key,
    }
    assert len(others) == 3
    assert key not in others


def test_noise_below_the_stated_rounding_changes_nothing() -> None:
    noisy = Crystal(GAAS.lattice + 2e-6, GAAS.numbers, GAAS.frac_coords + 1e-7)
    assert make_job("gap", noisy, STANDARD).key == make_job("gap", GAAS, STANDARD).key


def test_grid_is_even_and_as_dense_as_stated() -> None:
    # |b| of fcc a=5.75 is 2π√3/5.75 = 1.8926 1/Å: times 3.5 is 6.62, so 8 even points
    assert grid_size(GAAS, 3.5) == (8, 8, 8)
    assert irreducible_kpoints(GAAS, 3.5) == 29  # the 8x8x8 grid of a cubic crystal
    assert irreducible_kpoints(Crystal.from_ase(bulk("MgO", "rocksalt", a=4.26)), 3.5) == 47


def test_cost_grows_with_the_calculation() -> None:
    small = cost_features(GAAS, STANDARD, 8)
    double = {**small, "n_electrons": 16.0, "n_planewaves": 2 * small["n_planewaves"]}
    assert small["n_planewaves"] == pytest.approx(2442, rel=0.01)  # V (2 m E)^(3/2) / (6 π² ħ³)
    assert estimate_seconds("relax", double) > estimate_seconds("relax", small) > estimate_seconds("gap", small)


@pytest.mark.parametrize("element", ["N", "O", "F", "Cl", "Br", "I", "S"])
def test_a_molecule_in_its_box_costs_one_kpoint(element: str) -> None:
    """Against the CPU seconds that the references which ship took; counting the grid of the level gave S8 6,000."""
    reference = References.default().elements[element]
    assert reference.crystal is not None
    job = make_job(reference.recipe, reference.crystal, STANDARD)
    assert reference.cpu_s / 3 < job.features["estimate_s"] < 3 * reference.cpu_s
    assert job.features["estimate_mb"] < 400


@pytest.mark.parametrize(
    ("compound", "peak_mb"),
    [  # as the launcher saw it, HSE06 with spin-orbit coupling at level standard
        ("LiCl-zincblende", 996),
        ("LiBr-zincblende", 1112),
        ("NaLiO-half-heusler", 1349),
        ("KLiO-half-heusler", 1791),
        ("KCuTe-half-heusler", 2688),
        ("CdCuP-half-heusler", 3463),
    ],
)
def test_exchange_asks_for_the_memory_of_the_whole_zone(compound: str, peak_mb: float) -> None:
    relaxed = next(entry.structure for entry in Dataset.load(resource("data/dataset")) if entry.id == compound)
    job = make_job("hybrid_spin_orbit", relaxed, STANDARD)
    assert job.features["estimate_mb"] == pytest.approx(peak_mb, rel=0.12)
    assert job.resources.memory_mb > 1.2 * peak_mb


def test_missing_pseudopotential_and_unknown_recipe_are_refused_before_anything_runs() -> None:
    polonium = Crystal(np.eye(3) * 3.35, np.array([84]), np.zeros((1, 3)))
    with pytest.raises(EngineError, match="Po"):
        make_job("gap", polonium, STANDARD)
    with pytest.raises(ConfigError, match="phonons"):
        make_job("phonons", GAAS, STANDARD)
