"""Real calculations, small ones."""

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
from materia.simulation import ROUGH, engine, make_job, recipe

pytestmark = pytest.mark.gpaw
if not engine("gpaw").capabilities().available:
    pytest.skip("GPAW is not installed", allow_module_level=True)


def run(folder: Path, spec: JobSpec, **changes: Any) -> dict[str, Any]:
    """As a backend would: its own process, its own folder."""
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({**spec.payload, "attempt": 1, **changes}))
    argv = [sys.executable, *spec.argv[1:]]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    assert not list(folder.glob("*.tmp"))
    return result


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    stretched = Crystal.from_ase(bulk("Si", "diamond", a=5.60))
    return run(tmp_path_factory.mktemp("si") / "relax", make_job("relax", stretched, ROUGH))


@pytest.mark.parametrize(("symbol", "structure"), [("Ca", "fcc"), ("Ba", "bcc")])
def test_a_metal_whose_bound_states_are_all_filled_gets_empty_bands(
    symbol: str, structure: str, tmp_path: Path
) -> None:
    """GPAW takes as many bands as there are bound states, five for ten electrons: an insulator by decree."""
    recipe("static")(Crystal.from_ase(bulk(symbol, structure)), ROUGH, engine("gpaw"), tmp_path)
    log = (tmp_path / "scf.txt").read_text()
    assert float(log.split("Fermi level:")[1].split()[0]) < 20.0


def test_relaxation_finds_the_cell_and_keeps_the_symmetry(relaxed: dict[str, Any]) -> None:
    assert relaxed["status"] == "completed", relaxed
    values = relaxed["values"]
    crystal = Crystal.from_record(values["structure"])
    a = float(np.linalg.norm(crystal.lattice[0]) * np.sqrt(2))
    assert a == pytest.approx(5.47, abs=0.05)  # PBE: 5.47 Å
    assert values["max_stress"] < ROUGH.stress_tolerance
    assert values["prototype_kept"]
    assert values["volume_ratio"] == pytest.approx((a / 5.60) ** 3, rel=1e-6)


def test_gap_of_silicon_is_indirect(relaxed: dict[str, Any], tmp_path: Path) -> None:
    crystal = Crystal.from_record(relaxed["values"]["structure"])
    result = run(tmp_path / "gap", make_job("gap", crystal, ROUGH))
    values = result["values"]
    assert values["gap_pbe"] == pytest.approx(0.6, abs=0.2)  # PBE 0.61 eV; the level is rough
    assert values["gap_direct_pbe"] == pytest.approx(2.5, abs=0.25)
    assert not values["is_direct"]
    assert values["energy_per_atom"] == pytest.approx(relaxed["values"]["energy_per_atom"], abs=1e-3)
    provenance = result["provenance"]
    assert set(provenance["pseudopotentials"]) == {"Si"}
    assert provenance["versions"]["gpaw"]
    assert provenance["cpu_s"] > 0


def test_overlapping_atoms_are_a_typed_failure(tmp_path: Path) -> None:
    good = make_job("gap", Crystal.from_ase(bulk("Si", "diamond", a=5.47)), ROUGH)
    bad = {**good.payload["structure"], "frac_coords": [[0, 0, 0], [0.02, 0.02, 0.02]]}
    result = run(tmp_path / "job", good, structure=bad)
    assert (result["status"], result["reason"]) == ("failed", "atoms_overlap")
    assert not result["retryable"]
    assert "overlap" in result["message"]


def test_other_pseudopotentials_than_the_jobs_are_refused(tmp_path: Path) -> None:
    good = make_job("gap", Crystal.from_ase(bulk("Si", "diamond", a=5.47)), ROUGH)
    result = run(tmp_path / "job", good, level_hash="0" * 12)
    assert (result["status"], result["reason"]) == ("failed", "missing_pseudopotential")


def test_an_open_shell_is_refused_in_that_word(tmp_path: Path) -> None:
    sodium_oxide = Crystal.from_species(np.eye(3) * 2.6, ["Na", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    result = run(tmp_path / "job", make_job("gap", sodium_oxide, ROUGH))
    assert (result["status"], result["reason"]) == ("failed", "open_shell")
