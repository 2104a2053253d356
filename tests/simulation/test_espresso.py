"""Quantum ESPRESSO: what every engine has to pass, and each way to fail, provoked in a real pw.x."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from espresso_pseudos import copy_chosen, skip_without_espresso, use
from materia.crystal import Crystal
from materia.record import JobSpec
from materia.simulation import ESPRESSO_ROUGH, Failure, Reason, make_job
from materia.simulation.engines.espresso import EspressoEngine
from materia.simulation.recipes import molecule, relax
from materia.simulation.testing import SILICON, EngineConformance

pytestmark = pytest.mark.espresso
skip_without_espresso()

ENGINE = EspressoEngine()


@pytest.fixture(autouse=True, scope="module")
def pseudos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = copy_chosen(tmp_path_factory.mktemp("espresso") / "pseudo")
        use(patch, folder)
        yield folder


def command(path: Path, body: str) -> str:
    """A shell script in place of pw.x."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def energy(crystal: Crystal, folder: Path, remedy: str = "", **electrons: Any) -> float:
    """By the engine's own calculator, with entries of the namelist ``electrons`` replaced."""
    atoms = crystal.to_ase()
    atoms.calc = ENGINE.calculator(crystal, ESPRESSO_ROUGH, folder / "log.txt", remedy=remedy)
    atoms.calc.setup.namelists["electrons"].update(electrons)
    found: float = atoms.get_potential_energy()
    return found


def failure(crystal: Crystal, folder: Path, **electrons: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        energy(crystal, folder, **electrons)
    assert (folder / "log.txt").stat().st_size > 0, "pw.x's own words are kept"
    return ENGINE.classify(caught.value)


class TestEspresso(EngineConformance):
    engine = ENGINE
    level = ESPRESSO_ROUGH


# ------------------------------------------------------------------ what it finds


def run(folder: Path, spec: JobSpec, **changes: Any) -> dict[str, Any]:
    """As a backend would: its own process, its own folder."""
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({**spec.payload, "attempt": 1, **changes}))
    argv = [sys.executable, "-m", "materia.simulation.worker"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_jobs_relax_silicon_and_find_its_gap(tmp_path: Path) -> None:
    stretched = make_job("relax", Crystal.from_ase(bulk("Si", "diamond", a=5.60)), ESPRESSO_ROUGH)
    relaxed = run(tmp_path / "relax", stretched)
    assert relaxed["status"] == "completed", relaxed
    crystal = Crystal.from_record(relaxed["values"]["structure"])
    a = float(np.linalg.norm(crystal.lattice[0]) * np.sqrt(2))
    assert a == pytest.approx(5.47, abs=0.05)  # PBE: 5.47 Å
    assert relaxed["values"]["max_stress"] < ESPRESSO_ROUGH.stress_tolerance

    found = run(tmp_path / "gap", make_job("gap", crystal, ESPRESSO_ROUGH))
    values, provenance = found["values"], found["provenance"]
    assert values["gap_pbe"] == pytest.approx(0.65, abs=0.2)  # PBE 0.61 eV; the level is rough
    assert not values["is_direct"]
    assert values["energy_per_atom"] == pytest.approx(relaxed["values"]["energy_per_atom"], abs=1e-3)
    assert set(provenance["pseudopotentials"]) == {"Si"}
    assert provenance["versions"]["espresso"]
    assert provenance["choices"]["density_cutoff_ry"] == pytest.approx(4 * 350 / 13.605693, rel=1e-5)
    assert provenance["cpu_s"] > 0.5  # pw.x's, not Python's alone
    kept = {path.name for path in (tmp_path / "gap").iterdir()}
    assert {"scf.txt", "scf.pwi", "scf.xml", "bands.txt", "bands.pwi", "bands.xml"} <= kept
    assert not [name for name in kept if name.startswith("pwscf-")], "densities are not left behind"


@pytest.mark.slow
def test_forces_and_stress_are_the_energy_s_slopes(tmp_path: Path) -> None:
    """Of the free energy, by central differences; a sign, a unit or the order of the components would show."""
    shifts = np.array([[0, 0, 0], [0.01, 0.02, 0]])
    crystal = Crystal(SILICON.lattice, SILICON.numbers, SILICON.frac_coords + shifts)
    atoms = crystal.to_ase()

    def at(moved: Any) -> float:
        moved.calc = calculator
        found: float = moved.get_potential_energy(force_consistent=True)
        return found

    calculator = ENGINE.calculator(crystal, ESPRESSO_ROUGH, tmp_path / "log.txt", kpts={"size": (2, 2, 2)})
    atoms.calc = calculator
    forces, stress = atoms.get_forces(), atoms.get_stress()
    step = 0.01  # Å
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 1] += sign * step
        ends.append(at(moved))
    assert forces[1, 1] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=0.005)
    strain, ends = 0.005, []
    for sign in (1, -1):
        moved = atoms.copy()
        shear = np.eye(3)
        shear[0, 1] = shear[1, 0] = sign * strain / 2
        moved.set_cell(atoms.cell.array @ shear, scale_atoms=True)
        ends.append(at(moved))
    assert stress[5] == pytest.approx((ends[0] - ends[1]) / (2 * strain) / atoms.get_volume(), abs=1e-4)
    assert abs(forces[1, 1]) > 0.008 and abs(stress[5]) > 1e-3, "not zero by symmetry"


def test_cutoff_of_the_density_follows_from_the_files() -> None:
    waves = ESPRESSO_ROUGH.cutoff_ev / 13.605693122994

    def choices(*symbols: str) -> dict[str, Any]:
        frac = np.arange(len(symbols))[:, None] / len(symbols) * np.ones(3)
        return ENGINE.choices(Crystal.from_species(np.eye(3) * 5, symbols, frac), ESPRESSO_ROUGH)

    silicon, germanium, oxide = choices("Si"), choices("Si", "Ge"), choices("Si", "O")
    assert silicon["density_cutoff_ry"] == pytest.approx(4 * waves, rel=1e-4)  # norm-conserving
    assert germanium["density_cutoff_ry"] == pytest.approx(8 * waves, rel=1e-4)  # PAW
    assert (silicon["below_suggested_cutoff"], germanium["below_suggested_cutoff"]) == ([], [])
    assert oxide["below_suggested_cutoff"] == ["O"]  # its file suggests 37.8 Ry, the level has 25.7
    assert oxide["suggested_cutoff_ry"]["O"] == pytest.approx(37.777, abs=1e-3)


def test_a_molecule_has_the_spin_it_was_given(tmp_path: Path) -> None:
    oxygen = Crystal.from_species(np.diag([4.0, 4.2, 5.0]), ["O", "O"], [[0, 0, 0], [0, 0, 1.24 / 5]])
    values = molecule(oxygen, ESPRESSO_ROUGH, ENGINE, tmp_path)
    relaxed = Crystal.from_record(values["structure"])
    bond = (relaxed.frac_coords[1, 2] - relaxed.frac_coords[0, 2]) % 1 * 5.0
    assert bond == pytest.approx(1.23, abs=0.05)  # PBE: 1.22 Å; the level is rough
    assert "tot_magnetization = 2.0" in (tmp_path / "relax.pwi").read_text()
    assert "K_POINTS gamma" in (tmp_path / "relax.pwi").read_text()


# ------------------------------------------------------------------ how it fails


@pytest.mark.slow
def test_no_convergence_and_its_remedy(tmp_path: Path) -> None:
    told = failure(SILICON, tmp_path, electron_maxstep=2)
    assert (told.reason, told.reason.retryable) == (Reason.NOT_CONVERGED, False)
    assert "convergence NOT achieved" in (tmp_path / "log.txt").read_text()
    remedy = ENGINE.remedy(told.reason)
    assert remedy
    assert energy(SILICON, tmp_path, remedy) == pytest.approx(energy(SILICON, tmp_path), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.UPF", "Si.mine.UPF not found"),
        ("pbe-rrkj.UPF", "read other pseudopotentials"),  # Debian's pw.x takes its own file of that name, silently
    ],
)
def test_a_pseudopotential_gone_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    path = copy_chosen(tmp_path / "pseudo", "Si.pbe-rrkj.UPF") / "Si.pbe-rrkj.UPF"
    path.write_text(path.read_text() + "<!-- not Debian's -->")
    path = path.rename(path.with_name(f"Si.{name}"))
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(path.parent))
    atoms = SILICON.to_ase()
    atoms.calc = ENGINE.calculator(SILICON, ESPRESSO_ROUGH, tmp_path / "log.txt")
    path.unlink()
    with pytest.raises(Failure) as caught:
        atoms.get_potential_energy()
    assert caught.value.reason is Reason.MISSING_PSEUDOPOTENTIAL
    assert words in caught.value.message


def test_a_job_with_other_pseudopotentials_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_job("gap", SILICON, ESPRESSO_ROUGH)
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(copy_chosen(tmp_path / "other", "Si.pbe-nl-rrkjus_psl.1.0.0.UPF")))
    refused = run(tmp_path / "refused", spec)
    assert (refused["reason"], refused["retryable"]) == ("missing_pseudopotential", False)
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(copy_chosen(tmp_path / "none", "Ge.pbe-kjpaw.UPF")))
    assert run(tmp_path / "none-of-it", spec)["reason"] == "missing_pseudopotential"


def test_atoms_in_one_place(tmp_path: Path) -> None:
    told = failure(Crystal(SILICON.lattice, SILICON.numbers, np.zeros((2, 3))), tmp_path)
    assert told.reason is Reason.ATOMS_OVERLAP
    assert "overlap" in told.message


def test_overlapping_atoms_never_reach_pw(tmp_path: Path) -> None:
    """pw.x itself gives an energy for atoms 0.2 Å apart."""
    bad = {**SILICON.to_record(), "frac_coords": [[0, 0, 0], [0.02, 0.02, 0.02]]}
    result = run(tmp_path / "job", make_job("gap", SILICON, ESPRESSO_ROUGH), structure=bad)
    assert (result["status"], result["reason"]) == ("failed", "atoms_overlap")
    assert not (tmp_path / "job" / "scf.txt").exists()


def test_an_exploding_geometry(tmp_path: Path) -> None:
    squeezed = Crystal(SILICON.lattice * 4.2 / 5.47, SILICON.numbers, SILICON.frac_coords)
    with pytest.raises(Failure) as caught:
        relax(squeezed, ESPRESSO_ROUGH, ENGINE, tmp_path)
    assert ENGINE.classify(caught.value).reason is Reason.GEOMETRY_EXPLODED


def test_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = subprocess.run(["ldd", str(shutil.which("pw.x"))], capture_output=True, text=True, check=False).stdout
    if "openblas" in libraries:
        pytest.skip("pw.x is linked with OpenBLAS, with which (0.3.21) it did not end where it was given no memory")
    monkeypatch.setenv("MATERIA_PW_COMMAND", command(tmp_path / "small", 'ulimit -v 400000; exec pw.x "$@"'))
    dense = ESPRESSO_ROUGH.model_copy(update={"cutoff_ev": 5500.0})
    atoms = SILICON.to_ase()
    atoms.calc = ENGINE.calculator(SILICON, dense, tmp_path / "log.txt")
    with pytest.raises(Failure) as caught:
        atoms.get_potential_energy()
    assert (caught.value.reason, caught.value.reason.retryable) == (Reason.OUT_OF_MEMORY, True)


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: str) -> None:
    """Before it can have finished; the shell then ends by the same signal, as pw.x without one would."""
    body = f'pw.x "$@" & sleep 0.1; kill -{signal} $!; wait $!; kill -{signal} $$'
    monkeypatch.setenv("MATERIA_PW_COMMAND", command(tmp_path / "doomed", body))
    with pytest.raises(Failure) as caught:
        energy(SILICON, tmp_path)
    assert (caught.value.reason, caught.value.reason.retryable) == (Reason.KILLED, True)
    assert f"SIG{signal}" in caught.value.message


def test_anything_else_is_said_in_pw_s_words(tmp_path: Path) -> None:
    told = failure(SILICON, tmp_path, mixing_mode="no such mode")
    assert told.reason is Reason.UNEXPECTED
    assert "mixing" in told.message


# ------------------------------------------------------------------ what is missing is said before


def test_what_is_missing_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ENGINE.capabilities().available
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(copy_chosen(tmp_path / "lda", "Si.pz-vbc.UPF", "Si.rel-pbe-rrkj.UPF")))
    wrong = ENGINE.capabilities()
    assert "holds no PBE pseudopotential" in wrong.missing
    monkeypatch.delenv("ESPRESSO_PSEUDO")
    nowhere = ENGINE.capabilities()
    assert "no folder of pseudopotentials" in nowhere.missing
    monkeypatch.setenv("MATERIA_PW_COMMAND", "true --pw.x")
    stranger = ENGINE.capabilities()
    assert "does not answer as pw.x does" in stranger.missing
    monkeypatch.setenv("MATERIA_PW_COMMAND", "no-such-pw.x")
    absent = ENGINE.capabilities()
    assert "no-such-pw.x" in absent.missing
    for found in (wrong, nowhere, stranger, absent):
        assert not found.available
        assert "ESPRESSO_PSEUDO" in found.remedy or "apt-get install quantum-espresso" in found.remedy
