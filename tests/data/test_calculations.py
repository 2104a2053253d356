"""Others' calculations: real files of VASP (ASE's test data) and of pw.x where it is installed; documents by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import pytest
from ase.build import bulk
from pymatgen.core import Lattice, Structure

from materia import quantities as q
from materia.data import Quarantined
from materia.data.calculations import Calculation, read_calculations
from materia.data.calculations._vasp import functional_of

VASP = Path(ase.__file__).parent / "test" / "testdata" / "vasp"
NACL = VASP / "vasprun_dfpt.xml"  # VASP 6.3.2, PBE
CARBON = VASP / "vasprun_pstress.xml"  # VASP 6.3.0, LDA by its POTCAR, under pressure
needs_vasprun = pytest.mark.skipif(not NACL.is_file(), reason="ASE was installed without its test data")


def one(path: Path) -> Calculation:
    (found,) = read_calculations(path)
    assert isinstance(found, Calculation), found
    return found


def refused(path: Path) -> str:
    (found,) = read_calculations(path)
    assert isinstance(found, Quarantined), found
    return found.reason


@needs_vasprun
def test_vasprun(tmp_path: Path) -> None:
    """Energy and eigenvalues as they stand in the file: e_0_energy of the last step, band edges 5.4988 eV apart."""
    found = one(NACL)
    assert (found.code, found.version, found.functional) == ("vasp", "6.3.2", "PBE")
    assert found.structure.formula == "NaCl"
    assert found.values == pytest.approx({q.ENERGY: -6.74587304 / 2, q.GAP_PBE: 5.4988}, abs=1e-4)
    assert found.settings["cutoff_ev"] == 400.0
    assert found.settings["kpoints"] == [3, 3, 3]
    assert (found.settings["smearing"], found.settings["smearing_ev"]) == ("gaussian", 0.1)
    assert found.settings["pseudopotentials"] == {"Na": "PAW_PBE Na 08Apr2002", "Cl": "PAW_PBE Cl 06Sep2000"}
    shutil.copy(NACL, tmp_path / "vasprun.xml")
    assert one(tmp_path / "vasprun.xml").digest == found.digest


@needs_vasprun
def test_vasprun_that_is_none_of_ours(tmp_path: Path) -> None:
    assert "functional of the POTCARs PAW" in refused(CARBON)  # pymatgen calls it GGA: the tag is '--'
    text = NACL.read_text()
    path = tmp_path / "vasprun.xml"
    path.write_text(text[: len(text) // 2])
    assert refused(path).startswith("unfinished")
    used_up = f'name="NELM"> {text.count("<scstep>")}<'  # as many steps as were allowed
    path.write_text(text.replace('name="NELM">   100<', used_up).replace('name="LEPSILON"> T', 'name="LEPSILON"> F'))
    assert "not converged: NELM" in refused(path)
    path.write_text("")
    assert refused(path).startswith("unfinished")
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "INCAR").write_text("ENCUT = 520\n")
    assert refused(folder) == "unfinished: a folder of VASP (INCAR) without vasprun.xml"


@pytest.mark.parametrize(
    ("parameters", "titles", "hubbard", "functional"),
    [
        ({"GGA": "PE"}, [], False, "PBE"),
        ({"GGA": "--"}, ["PAW_PBE Si 05Jan2001"], False, "PBE"),
        ({}, ["PAW_PBE Si 05Jan2001"], False, "PBE"),
        ({}, ["PAW Si 05Jan2001"], False, "the functional of the POTCARs PAW"),
        ({"GGA": "PS"}, ["PAW_PBE Si 05Jan2001"], False, "GGA PS"),
        ({"GGA": "PE"}, [], True, "PBE + U"),
        ({"METAGGA": "R2SCAN"}, ["PAW_PBE Si 05Jan2001"], False, "R2SCAN"),
        ({"LHFCALC": True, "HFSCREEN": 0.2, "GGA": "PE"}, [], False, "HSE06"),
        ({"LHFCALC": True, "AEXX": 0.32, "HFSCREEN": 0.2}, [], False, "a hybrid (AEXX 0.32, HFSCREEN 0.2)"),
        ({"LHFCALC": True, "GGA": "PE"}, [], False, "a hybrid (AEXX 0.25, HFSCREEN 0)"),
        ({"GGA": "PE", "IVDW": 11}, [], False, "PBE + van der Waals terms"),
        ({"GGA": "PE", "LSORBIT": True}, [], False, "PBE + spin-orbit coupling"),
    ],
)
def test_functional_of_vasp(parameters: Mapping[str, Any], titles: list[str], hubbard: bool, functional: str) -> None:
    assert functional_of(parameters, titles, hubbard=hubbard) == functional


INPUT = """&control
 calculation='{what}', prefix='si', outdir='./out', pseudo_dir='{pseudo}'
/
&system
 ibrav=0, nat=2, ntyp=1, ecutwfc=12.0, nbnd=8{system}
/
&electrons
 conv_thr=1.0d-6, electron_maxstep={steps}
/
ATOMIC_SPECIES
 Si 28.086 {file}
CELL_PARAMETERS angstrom
 0.0 2.715 2.715
 2.715 0.0 2.715
 2.715 2.715 0.0
ATOMIC_POSITIONS crystal
 Si 0.0 0.0 0.0
 Si 0.25 0.25 0.25
K_POINTS automatic
 3 3 3 0 0 0
"""
PSEUDO = Path("/usr/share/espresso/pseudo")  # of Debian's package quantum-espresso-data


def pw(folder: Path, **changes: object) -> Path:
    if shutil.which("pw.x") is None or not (PSEUDO / "Si.pbe-rrkj.UPF").is_file():
        pytest.skip("pw.x or its example pseudopotentials are not installed")
    folder.mkdir()
    given = {"what": "scf", "system": "", "steps": 100, "file": "Si.pbe-rrkj.UPF", "pseudo": PSEUDO, **changes}
    (folder / "si.in").write_text(INPUT.format(**given))
    with (folder / "si.out").open("w") as log:
        subprocess.run(["pw.x", "-in", "si.in"], cwd=folder, stdout=log, check=False, timeout=120)
    return folder


def test_quantum_espresso(tmp_path: Path) -> None:
    """The energy is the one the log prints (in Ry), the gap that of the eigenvalues; the folder's two XML are one."""
    from ase.units import Rydberg

    first, second = read_calculations(pw(tmp_path / "scf"))
    assert isinstance(first, Calculation)
    assert isinstance(second, Calculation)
    assert first.digest == second.digest
    log = (tmp_path / "scf" / "si.out").read_text()
    total = float(log.partition("!    total energy")[2].partition("=")[2].split()[0])
    assert first.values[q.ENERGY] == pytest.approx(total * Rydberg / 2, abs=1e-6)
    edges = log.partition("highest occupied, lowest unoccupied level (ev):")[2].split()
    assert first.values[q.GAP_PBE] == pytest.approx(float(edges[1]) - float(edges[0]), abs=2e-4)
    assert first.settings["cutoff_ev"] == pytest.approx(12 * Rydberg, abs=1e-6)
    assert first.settings["pseudopotentials"] == {"Si": "Si.pbe-rrkj.UPF"}
    assert first.structure.volume == pytest.approx(5.43**3 / 4, rel=1e-6)


def test_quantum_espresso_with_smearing(tmp_path: Path) -> None:
    """Of a metal at two widths, the extrapolated energies are closer than the free energies."""
    from ase.units import Hartree

    energies, free = [], []
    for width in (0.02, 0.06):
        system = f", occupations='smearing', smearing='fd', degauss={width}"
        folder = pw(tmp_path / str(width), system=system, file="Si.pbe-rrkj.UPF")
        found = one(folder / "out" / "si.xml")
        assert (found.settings["smearing"], found.settings["smearing_ev"]) == ("fermi-dirac", width * Hartree / 2)
        energies.append(found.values[q.ENERGY])
        text = (folder / "out" / "si.xml").read_text()
        free.append(float(text.partition("<etot>")[2].partition("<")[0]) * Hartree / 2)
    assert abs(energies[0] - energies[1]) < 0.5 * abs(free[0] - free[1])


def test_quantum_espresso_that_is_none_of_ours(tmp_path: Path) -> None:
    stopped = pw(tmp_path / "steps", steps=2)
    assert "not converged" in refused(stopped / "out" / "si.save" / "data-file-schema.xml")
    lda = pw(tmp_path / "lda", file="Si.pz-vbc.UPF")
    assert "computed with" in refused(lda / "out" / "si.xml")
    text = (lda / "out" / "si.xml").read_text()
    (tmp_path / "cut.xml").write_text(text[: len(text) // 2])
    assert refused(tmp_path / "cut.xml").startswith("unfinished")


def silicon() -> dict[str, Any]:
    found: dict[str, Any] = Structure(Lattice(bulk("Si").cell[:]), ["Si", "Si"], [[0, 0, 0], [0.25] * 3]).as_dict()
    return found


def task(**changes: Any) -> dict[str, Any]:
    """A task document with the fields of emmet's TaskDoc that matter here. Synthetic: the numbers are no one's."""
    spec = {"titel": "PAW_PBE Si 05Jan2001", "hash": "x"}
    parameters = {"GGA": "PE", "ENMAX": 520.0, "ISMEAR": 0, "SIGMA": 0.05, "ISPIN": 1, "NSW": 99, "ISIF": 3}
    return {
        "@class": "TaskDoc",
        "task_id": "task-1",
        "state": "successful",
        "input": {
            "structure": silicon(),
            "parameters": parameters,
            "potcar_spec": [spec],
            "is_hubbard": False,
            "kpoints": {"nkpoints": 0, "kpoints": [[8, 8, 8]]},
        },
        "calcs_reversed": [{"vasp_version": "6.4.2"}],
        "output": {"structure": silicon(), "energy": -10.8, "energy_per_atom": -5.4, "bandgap": 0.6},
        **changes,
    }


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_task_document(tmp_path: Path) -> None:
    found = one(write(tmp_path / "task.json", task()))
    assert (found.code, found.version, found.name, found.functional) == ("vasp", "6.4.2", "task-1", "PBE")
    volume = bulk("Si").get_volume() / 2
    assert found.values == pytest.approx({q.ENERGY: -5.4, q.GAP_PBE: 0.6, q.VOLUME: volume})
    in_a_store = write(tmp_path / "store.json", [{"uuid": "u", "metadata": {}, "output": task()}])
    assert one(in_a_store).digest == found.digest
    assert found.settings["kpoints"] == [8, 8, 8]
    assert found.level_settings["kpoint_density"] == 3  # 8 points on 2π/3.135 Å = 2.004 1/Å: 3.99
    assert refused(write(tmp_path / "failed.json", task(state="failed"))).endswith("the task's state is 'failed'")
    plus_u = {**task()["input"], "is_hubbard": True, "hubbards": {"Si": 3.0}}
    assert "PBE + U" in refused(write(tmp_path / "u.json", task(input=plus_u)))
    assert "names no input parameters" in refused(write(tmp_path / "bare.json", task(input={})))


def test_a_hybrid_s_energy_is_no_pbe_energy(tmp_path: Path) -> None:
    given = task()["input"]
    parameters = {**given["parameters"], "LHFCALC": True, "HFSCREEN": 0.2, "AEXX": 0.25}
    found = one(write(tmp_path / "hse.json", task(input={**given, "parameters": parameters})))
    assert found.values == {q.GAP_HSE06: 0.6}
    assert found.level_hash != one(write(tmp_path / "pbe.json", task())).level_hash
    spec = [{"titel": "PAW_PBE Si_GW 24Mar2010"}]
    other = one(write(tmp_path / "potcar.json", task(input={**given, "potcar_spec": spec})))
    assert other.settings["pseudopotentials"] == {"Si": "PAW_PBE Si_GW 24Mar2010"}


def test_materials_project(tmp_path: Path) -> None:
    entry = {
        "material_id": "mp-149",
        "structure": silicon(),
        "formation_energy_per_atom": 0.0,
        "band_gap": 0.61,
        "energy_above_hull": 0.0,
        "builder_meta": {"database_version": "2023.11.1"},
    }
    rows = [entry, {**entry, "deprecated": True}, {**entry, "thermo_type": "R2SCAN"}, {**entry, "band_gap": "wide"}]
    found = list(read_calculations(write(tmp_path / "mp.json", {"data": rows})))
    assert isinstance(found[0], Calculation)
    assert found[0].values == {q.FORMATION_ENERGY_MP: 0.0, q.GAP_MP: 0.61, q.ENERGY_ABOVE_HULL_MP: 0.0}
    assert (found[0].functional, found[0].name, found[0].place) == ("MP-PBE", "mp-149", "mp.json:1")
    reasons = [x.reason for x in found[1:] if isinstance(x, Quarantined)]
    assert ["deprecated" in reasons[0], "R2SCAN" in reasons[1], "no number" in reasons[2]] == [True] * 3


def test_other_files_are_passed_by(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("bought milk\n")
    (tmp_path / "page.xml").write_text("<html></html>")
    write(tmp_path / "settings.json", {"a": 1})
    (tmp_path / "damaged.json").write_text('{"a": ')
    (found,) = read_calculations(tmp_path)
    assert isinstance(found, Quarantined)
    assert (found.place, found.reason[:15]) == ("damaged.json", "cannot be read:")
