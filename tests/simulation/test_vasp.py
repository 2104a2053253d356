"""The VASP engine, with a stand-in that returns a real vasprun.xml (of ASE's test data): VASP itself is not run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from materia.crystal import Crystal
from materia.data.calculations import read_vasprun
from materia.errors import EngineError
from materia.simulation import VASP_ROUGH, Failure, Reason, level_hash, make_job
from materia.simulation.engines.vasp import STEADY, VaspEngine
from materia.simulation.testing import EngineConformance

TEMPLATE = Path(ase.__file__).parent / "test" / "testdata" / "vasp" / "vasprun_dfpt.xml"  # VASP 6.3.2, NaCl, PBE
STAND_IN = Path(__file__).parents[1] / "stand_in_vasp.py"
if not TEMPLATE.is_file():
    pytest.skip("ASE was installed without its test data", allow_module_level=True)

ENGINE = VaspEngine()
NACL = read_vasprun(TEMPLATE, "template").structure
# Not POTCARs: no more than what is read of one, with the titles of the template's.
POTCAR = """  PAW_PBE {title}
   {valence}
 parameters from PSCTR are:
   VRHFIN ={element}: s1
   TITEL  = PAW_PBE {title}
   ZVAL   =    {valence}    mass and valenz
END of PSCTR-controll parameters
"""


def potcars(folder: Path, **titles: str) -> Path:
    for symbol, title in (titles or {"Na_pv": "Na 08Apr2002", "Cl": "Cl 06Sep2000"}).items():
        path = folder / "POT_GGA_PAW_PBE" / f"POTCAR.{symbol}"
        path.parent.mkdir(parents=True, exist_ok=True)
        valence = {"Na": 1.0, "Cl": 7.0}[title.split()[0]]
        path.write_text(POTCAR.format(title=title, element=title.split()[0], valence=valence))
    return folder


@pytest.fixture(autouse=True, scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMG_VASP_PSP_DIR", str(potcars(tmp_path_factory.mktemp("potcars"))))
        patch.delenv("PMG_DEFAULT_FUNCTIONAL", raising=False)
        patch.setenv("MATERIA_VASP_COMMAND", shlex.join([sys.executable, str(STAND_IN), str(TEMPLATE)]))
        yield


class TestVasp(EngineConformance):
    engine = ENGINE
    level = VASP_ROUGH
    crystal = NACL


def energy(crystal: Crystal, folder: Path, **overrides: Any) -> float:
    atoms = crystal.to_ase()
    atoms.calc = ENGINE.calculator(crystal, VASP_ROUGH, folder / "scf.txt", **overrides)
    found: float = atoms.get_potential_energy()
    return found


def failure(crystal: Crystal, folder: Path) -> Failure:
    with pytest.raises(Failure) as caught:
        energy(crystal, folder)
    return caught.value


def test_input_is_that_of_the_level(tmp_path: Path) -> None:
    energy(NACL, tmp_path)
    tags = dict(
        (part.strip() for part in line.split("=", 1)) for line in (tmp_path / "scf.INCAR").read_text().splitlines()
    )
    wanted = {"ENCUT": "350.0", "ISMEAR": "-1", "SIGMA": "0.05", "ISPIN": "1", "NSW": "0", "LREAL": "False"}
    assert {name: tags[name] for name in wanted} == wanted
    assert not {"MAGMOM", "LDAU", "LDAUU", "LORBIT"} & set(tags)
    kpoints = (tmp_path / "scf.KPOINTS").read_text().splitlines()
    assert (kpoints[2], kpoints[3].split()) == ("Gamma", ["4", "4", "4"])  # 1.6 per 1/Å of 1.995 1/Å, made even
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert left == {"scf.txt", "scf.INCAR", "scf.KPOINTS", "scf.POSCAR", "scf.vasprun.xml"}, "no POTCAR stays"


def test_what_vasp_returned_is_read_in_the_order_of_the_atoms(tmp_path: Path) -> None:
    """Energies as they stand in the file; ASE's reader gives stress in its own sign and order."""
    swapped = Crystal(NACL.lattice, NACL.numbers[::-1], NACL.frac_coords[::-1])
    found = []
    for number, crystal in enumerate((NACL, swapped)):
        (tmp_path / str(number)).mkdir()
        atoms = crystal.to_ase()
        atoms.calc = ENGINE.calculator(crystal, VASP_ROUGH, tmp_path / str(number) / "scf.txt")
        found.append(dict(zip(atoms.symbols, atoms.get_forces(), strict=True)))
        assert atoms.get_potential_energy() == pytest.approx(-6.74587304, abs=1e-6)
        kilobar = -atoms.get_stress(voigt=True)[0] * 1602.1766
        assert kilobar == pytest.approx(_pressure_in_file(), abs=1e-3)
    for element in ("Na", "Cl"):
        assert found[0][element] == pytest.approx(found[1][element], abs=1e-9)


def _pressure_in_file() -> float:
    lines = TEMPLATE.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if 'varray name="stress"' in line)
    return float(lines[at + 1].split()[1])


def test_a_job_finds_the_gap_of_the_file(tmp_path: Path) -> None:
    spec = make_job("gap", NACL, VASP_ROUGH)
    (tmp_path / "job.json").write_text(json.dumps({**spec.payload, "attempt": 1}))
    argv = [sys.executable, "-m", "materia.simulation.worker"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "completed", result
    assert result["values"]["gap_pbe"] == pytest.approx(5.4988, abs=1e-3)
    assert result["provenance"]["choices"]["potcars"]["Na"] == "PAW_PBE Na 08Apr2002"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("vasp-")], "no POTCAR stays"


def test_a_lack_of_convergence_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_VASP", "nelm")
    told = failure(NACL, tmp_path)
    assert told.reason is Reason.NOT_CONVERGED
    assert ENGINE.remedy(told.reason) == STEADY
    assert energy(NACL, tmp_path, remedy=STEADY) == pytest.approx(-6.74587304, abs=1e-6)


@pytest.mark.parametrize(
    ("how", "reason", "words"),
    [
        ("killed", Reason.KILLED, "signal 9"),
        ("silent", Reason.UNEXPECTED, "segmentation fault"),
        ("cut", Reason.UNEXPECTED, "unfinished"),
        ("ranks", Reason.ENGINE_MISSING, "VASP ran on 8"),
    ],
)
def test_failures_of_the_program_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, reason: Reason, words: str
) -> None:
    monkeypatch.setenv("STAND_IN_VASP", how)
    told = failure(NACL, tmp_path)
    assert told.reason is reason
    assert words in told.message
    assert (tmp_path / "scf.txt").stat().st_size > 0, "VASP's own words are kept"


def test_the_result_of_another_structure_is_refused(tmp_path: Path) -> None:
    assert "another structure" in failure(NACL.scaled_to_volume(45.0), tmp_path).message


def test_the_result_of_other_potcars_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = potcars(tmp_path / "newer", Na_pv="Na 19Sep2006", Cl="Cl 06Sep2000")
    before = make_job("static", NACL, VASP_ROUGH)
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(newer))
    told = failure(NACL, tmp_path)
    assert (told.reason, "read other POTCARs" in told.message) == (Reason.MISSING_PSEUDOPOTENTIAL, True)
    after = make_job("static", NACL, VASP_ROUGH)
    assert before.key != after.key
    assert before.payload["level_hash"] != after.payload["level_hash"] != level_hash(VASP_ROUGH)


def test_what_is_lacking_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"no POTCAR for Ga \(Ga_d\)"):
        ENGINE.pseudopotentials(["Na", "Ga"], VASP_ROUGH)
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(potcars(tmp_path / "lda", Cl="Cl 06Sep2000")))
    path = tmp_path / "lda" / "POT_GGA_PAW_PBE" / "POTCAR.Cl"
    path.write_text(path.read_text().replace("PAW_PBE", "PAW"))
    with pytest.raises(EngineError, match="not one of PBE"):
        ENGINE.pseudopotentials(["Cl"], VASP_ROUGH)
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    lacking = ENGINE.capabilities(VASP_ROUGH)
    assert ("there is no folder" in lacking.missing, "PMG_VASP_PSP_DIR" in lacking.remedy) == (True, True)
    monkeypatch.delenv("PMG_VASP_PSP_DIR")
    assert "no folder of POTCARs is named" in ENGINE.capabilities(VASP_ROUGH).missing
    monkeypatch.setenv("MATERIA_VASP_COMMAND", "no-such-vasp")
    lacking = ENGINE.capabilities(VASP_ROUGH)
    assert ("no-such-vasp" in lacking.missing, "MATERIA_VASP_COMMAND" in lacking.remedy) == (True, True)


def test_equal_elements_apart_in_the_list_are_put_together(tmp_path: Path) -> None:
    """POSCAR lists each element once; forces come back in the crystal's own order."""
    from materia.simulation.engines._vasp_run import _order

    double = Crystal(
        NACL.lattice @ np.diag([1, 1, 2]), np.array([11, 17, 11, 17]), np.zeros((4, 3)) + np.arange(4)[:, None] / 4
    ).to_ase()
    double.calc = SinglePointCalculator(double)
    order = _order(double)
    assert double.numbers[order].tolist() == [11, 11, 17, 17]
    assert np.argsort(order).tolist() == [0, 2, 1, 3]
