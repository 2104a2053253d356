"""Dielectric tensors in the random-phase approximation with GPAW, at few k-points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from materia.crystal import Crystal
from materia.simulation import ROUGH, Failure, engine, recipe
from materia.simulation._quadratic import quadratic_form
from materia.simulation.recipes._screening import empty_bands
from materia.space import build_prototype

pytestmark = pytest.mark.gpaw
GPAW = engine("gpaw")
if not GPAW.capabilities().available:
    pytest.skip("GPAW is not installed", allow_module_level=True)
TURN = Rotation.from_euler("xyz", [0.4, 0.2, -0.7]).as_matrix()


def computed(crystal: Crystal, folder: Path, density: float) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return recipe("dielectric_rpa")(crystal, ROUGH.model_copy(update={"kpoint_density": density}), GPAW, folder)


def test_silicon_carbide_is_isotropic_and_near_what_perturbation_theory_says(tmp_path: Path) -> None:
    """pw.x and ph.x, which let exchange and correlation answer too, have 6.84 (test_dielectric.py); twice as many
    points along each axis as here give 6.70."""
    found = computed(build_prototype("zincblende", ["Si", "C"]), tmp_path, 2.0)
    assert found["dielectric_electronic_rpa"] == pytest.approx(6.70, rel=0.03)
    assert np.allclose(found["dielectric_rpa"], found["dielectric_electronic_rpa"] * np.eye(3), atol=1e-3)
    independent = np.trace(found["dielectric_independent"]) / 3
    assert 1.01 < independent / found["dielectric_electronic_rpa"] < 1.15, "local fields screen less"
    assert found["n_kpoints_rpa"] == 256
    assert not list(tmp_path.rglob("*.gpw")), "wave functions are not left behind"


def test_the_tensor_turns_with_the_crystal(tmp_path: Path) -> None:
    """Magnesium oxide, drawn out along one edge of its cube."""
    cubic = Crystal.from_ase(bulk("MgO", "rocksalt", a=4.25))
    lattice = cubic.lattice @ np.diag([1.0, 1.0, 1.15])
    tensors = [
        np.array(computed(Crystal(cell, cubic.numbers, cubic.frac_coords), tmp_path / name, 0.8)["dielectric_rpa"])
        for name, cell in (("straight", lattice), ("turned", lattice @ TURN.T))
    ]
    assert np.ptp(np.linalg.eigvalsh(tensors[0])) > 0.02
    assert np.allclose(TURN @ tensors[0] @ TURN.T, tensors[1], atol=2e-3)


def test_a_metal_has_none(tmp_path: Path) -> None:
    found = computed(Crystal.from_ase(bulk("Mg", "fcc", a=4.5)), tmp_path, 1.6)
    assert found["is_metal"]
    assert "dielectric_electronic_rpa" not in found


def test_empty_bands_are_those_of_free_electrons() -> None:
    """A cube of 4 Å: states k = 2π n / 4 Å with ħ²k²/2m below 60 eV are the points of a sphere of radius 2.53: 81 of
    them, where its volume says 67; in ten times the volume the two are closer."""
    assert empty_bands(64.0) == 68
    assert empty_bands(640.0) == pytest.approx(10 * 67.6, rel=0.01)
    assert empty_bands(1.0) == 8


def test_a_tensor_is_found_from_six_directions_and_from_more() -> None:
    tensor = np.array([[3.0, 0.2, -0.1], [0.2, 2.0, 0.4], [-0.1, 0.4, 5.0]])
    directions = np.random.default_rng(0).normal(size=(20, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    for n in (6, 20):
        along = np.einsum("ni,ij,nj->n", directions[:n], tensor, directions[:n])
        assert np.allclose(quadratic_form(directions[:n], along), tensor)


def test_others_refuse(tmp_path: Path) -> None:
    from materia.simulation.recipes._beyond import beyond

    with pytest.raises(Failure, match="espresso"):
        beyond(engine("espresso"))
