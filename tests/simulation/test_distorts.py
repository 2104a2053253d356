"""Whether symmetry alone holds a crystal, on lattices whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spglib
from ase.build import bulk

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.simulation import ROUGH, Failure, PotentialSettings, Reason, engine, make_job, potential_level
from materia.simulation.recipes import distorts, static
from materia.simulation.recipes._distorts import THRESHOLD

pytestmark = pytest.mark.filterwarnings("ignore:logm result may be inaccurate")
ENGINE = engine("ase")
SIGMA, EPSILON = 2.5, 0.1  # Å, eV
LENNARD_JONES = potential_level(
    "lj",
    PotentialSettings(
        calculator="ase.calculators.lj:LennardJones", arguments={"sigma": SIGMA, "epsilon": EPSILON, "rc": 3 * SIGMA}
    ),
)
# Energy of the infinite lattices: minus half of A6 squared over A12, the sums over 1/r^6 and 1/r^12 of all neighbours,
# which are 14.454 and 12.132 for fcc, 8.402 and 6.202 for simple cubic (Jones and Ingham, Proc. R. Soc. A 107, 636,
# 1925).
FCC, SIMPLE_CUBIC = -EPSILON * 14.454**2 / (2 * 12.132), -EPSILON * 8.402**2 / (2 * 6.202)


def argon(shape: str, a: float) -> Crystal:
    return Crystal.from_ase(bulk("Ar", shape, a=a))


@pytest.fixture(scope="module")
def fallen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Simple cubic argon: no pair potential holds it."""
    return distorts(argon("sc", 2.7), LENNARD_JONES, ENGINE, tmp_path_factory.mktemp("sc"))


def test_simple_cubic_falls_to_close_packing(fallen: dict[str, Any], tmp_path: Path) -> None:
    assert fallen["distorts"]
    assert fallen["supercell"] == [4, 4, 4]  # 2.66 Å, doubled until over 6 Å
    # at most down to close packing, most of which a small cell reaches; the cutoff takes some of both energies
    whole = SIMPLE_CUBIC - FCC
    assert 0.5 * whole < fallen["distortion_energy"] < 1.01 * whole
    child = Crystal.from_record(fallen["child"])
    assert (child.lattice.shape, set(child.symbols)) == ((3, 3), {"Ar"})
    again = static(child, LENNARD_JONES, ENGINE, tmp_path)
    assert again["energy_per_atom"] == pytest.approx(fallen["child_energy_per_atom"], abs=1e-9)


def test_the_child_is_the_primitive_cell_of_close_packing(fallen: dict[str, Any]) -> None:
    child = Crystal.from_record(fallen["child"])
    assert (child.n_atoms, fallen["child_prototype"]) == (1, "A_225_a")
    dataset = spglib.get_symmetry_dataset((child.lattice, child.frac_coords, child.numbers), symprec=1e-3)
    assert dataset.international == "Fm-3m"
    nearest = np.linalg.norm(child.lattice, axis=1).min()
    assert nearest == pytest.approx(1.09 * SIGMA, rel=0.01)  # (2 A12 / A6)^(1/6) = 1.0902


def test_close_packing_stays(tmp_path: Path) -> None:
    found = distorts(argon("fcc", 3.9), LENNARD_JONES, ENGINE, tmp_path)
    assert not found["distorts"]
    assert found["distortion_energy"] == pytest.approx(0.0, abs=1e-3)
    assert "child" not in found
    assert found["parent_prototype"] == "A_225_a"


def test_a_repetition_finds_the_same(fallen: dict[str, Any], tmp_path: Path) -> None:
    again = distorts(argon("sc", 2.7), LENNARD_JONES, ENGINE, tmp_path)
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(fallen))
    log = (tmp_path / "distorts.log").read_text()
    assert len(log.splitlines()) > 10


def test_it_is_no_work_for_dft() -> None:
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    with pytest.raises(EngineError, match="work for a potential"):
        make_job("distorts", Crystal.from_ase(bulk("Si", "diamond", a=5.47)), ROUGH)


def test_too_few_steps_to_tell_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the energy has fallen below the parent's, though, the answer is there."""
    from materia.simulation.recipes import _distorts

    monkeypatch.setattr(_distorts, "MAX_STEPS_POTENTIAL", 1)
    (tmp_path / "stays").mkdir()
    with pytest.raises(Failure) as caught:
        distorts(argon("fcc", 3.9), LENNARD_JONES, ENGINE, tmp_path / "stays")
    assert caught.value.reason is Reason.RELAXATION_UNFINISHED
    monkeypatch.setattr(_distorts, "MAX_STEPS_POTENTIAL", 25)
    (tmp_path / "falls").mkdir()
    found = distorts(argon("sc", 2.7), LENNARD_JONES, ENGINE, tmp_path / "falls")
    assert (found["distorts"], found["child_relaxed"]) == (True, False)
    assert found["distortion_energy"] > THRESHOLD


def test_the_job_is_sized_by_its_supercell() -> None:
    job = make_job("distorts", argon("sc", 2.7), LENNARD_JONES, ranks=8)
    assert (job.features["n_atoms"], job.features["n_supercell"]) == (1, 64)
    assert (job.resources.cores, job.resources.ranks) == (1, 1)
    assert job.features["estimate_s"] > make_job("relax", argon("sc", 2.7), LENNARD_JONES).features["estimate_s"]
    assert job.family == "distorts ase"
