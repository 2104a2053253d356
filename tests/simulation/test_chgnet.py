"""CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) with the weights in its wheel, as jobs of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from materia.crystal import Crystal
from materia.record import JobSpec
from materia.simulation import engine, level, level_hash, make_job
from materia.simulation.testing import EngineConformance

ENGINE, CHGNET = engine("ase"), level("chgnet")
if not ENGINE.capabilities(CHGNET).available:
    pytest.skip("CHGNet is not installed (pip install 'materia[potentials]')", allow_module_level=True)


class TestCHGNet(EngineConformance):
    engine = ENGINE
    level = CHGNET


def run(folder: Path, spec: JobSpec) -> dict[str, Any]:
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({**spec.payload, "attempt": 1}))
    argv = [sys.executable, *spec.argv[1:]]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    assert result["status"] == "completed", result
    return result


def perovskite(a: str, b: str, x: str, length: float) -> Crystal:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Crystal.from_species(np.eye(3) * length, [a, b, x, x, x], places)


def test_the_level_names_version_and_weights() -> None:
    potential = CHGNET.potential
    assert potential is not None
    assert set(potential.packages) == {"chgnet"}
    assert any(name.startswith("chgnet/pretrained/") for name in potential.files)
    other = CHGNET.model_copy(update={"potential": potential.model_copy(update={"packages": {"chgnet": "0.0"}})})
    assert level_hash(other) != level_hash(CHGNET)


def test_silicon_has_the_lattice_constant_of_pbe(tmp_path: Path) -> None:
    result = run(tmp_path / "job", make_job("relax", Crystal.from_ase(bulk("Si", "diamond", a=5.6)), CHGNET))
    a = float(np.linalg.norm(result["values"]["structure"]["lattice"][0]) * np.sqrt(2))
    assert a == pytest.approx(5.47, abs=0.03)  # PBE; it was trained on PBE relaxations
    assert result["values"]["prototype_kept"]
    assert set(result["provenance"]["pseudopotentials"]) == {"Si"}


def test_silicon_stays_and_cubic_caesium_lead_iodide_tilts(tmp_path: Path) -> None:
    """CsPbI3 is a cubic perovskite at high temperature only. When it is cooled, its octahedra tilt, to the black gamma
    phase, Pnma with four formula units (Marronnier et al., ACS Nano 12, 3477 (2018))."""
    silicon = make_job("distorts", Crystal.from_ase(bulk("Si", "diamond", a=5.46)), CHGNET)
    stays = run(tmp_path / "si", silicon)["values"]
    assert not stays["distorts"]
    assert abs(stays["distortion_energy"]) < 1e-3
    tilts = run(tmp_path / "cspbi3", make_job("distorts", perovskite("Cs", "Pb", "I", 6.3), CHGNET))["values"]
    assert tilts["distorts"]
    assert tilts["parent_prototype"].split("_")[1] == "221"
    child = Crystal.from_record(tilts["child"])
    assert (tilts["child_prototype"].split("_")[1], child.n_atoms) == ("62", 20)  # Pnma
