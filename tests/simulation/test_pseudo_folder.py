"""Headers of UPF files and the choice among them; no pw.x is needed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from materia.errors import EngineError
from materia.simulation.engines._pseudo_folder import choose, holds_any
from materia.simulation.engines._upf import functional_of, read_upf

VERSION_2 = """<UPF version="2.0.1">
  <PP_INFO>Generated with <input> of any kind</PP_INFO>
  <PP_HEADER generated='by "atomic" code' author='"A" &lt;a@b&gt;'
    element=" {element}" pseudo_type="{kind}" relativistic="{relativistic}" has_so="F"
    functional="{functional}" z_valence="4.000E+000" wfc_cutoff="4.4D+01" rho_cutoff="1.75E+002"/>
</UPF>
"""
# the layout of a file of 2001 in QE's examples
VERSION_1 = """<PP_INFO>
The Pseudo was generated with a {relativity} Calculation
</PP_INFO>
<PP_HEADER>
   0                   Version Number
  Rh                   Element
   US                  Ultrasoft pseudopotential
    F                  Nonlinear Core Correction
SLA  PW   PBE  PBE     PBE  Exchange-Correlation functional
    9.00000000000      Z valence
  -43.22148820500      Total energy
  23.5570000 371.90200 Suggested cutoff for wfc and rho
    2                  Max angular momentum component
</PP_HEADER>
"""


def upf(
    folder: Path, name: str, element: str = "Si", *, xc: str = "PBE", kind: str = "NC", rel: str = "scalar"
) -> Path:
    text = VERSION_2.format(element=element, functional=xc, kind=kind, relativistic=rel)
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path))
    return tmp_path


def test_header_of_version_2(tmp_path: Path) -> None:
    found = read_upf(upf(tmp_path, "Si.upf", kind="PAW", xc=" SLA  PW   PBX  PBC "))
    assert (found.element, found.functional, found.valence) == ("Si", "PBE", 4.0)
    assert (found.norm_conserving, found.fully_relativistic) == (False, False)
    assert (found.cutoff_ry, found.density_cutoff_ry) == (44.0, 175.0)
    assert found.digest == hashlib.sha256((tmp_path / "Si.upf").read_bytes()).hexdigest()


@pytest.mark.parametrize(("relativity", "full"), [("Scalar-Relativistic", False), ("Fully-Relativistic", True)])
def test_header_of_version_1(tmp_path: Path, relativity: str, full: bool) -> None:
    path = tmp_path / "Rh.UPF"
    path.write_text(VERSION_1.format(relativity=relativity))
    found = read_upf(path)
    assert (found.element, found.functional, found.valence) == ("Rh", "PBE", 9.0)
    assert (found.norm_conserving, found.fully_relativistic) == (False, full)
    assert (found.cutoff_ry, found.density_cutoff_ry) == (23.557, 371.902)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("PBE", "PBE"),
        (" SLA  PW   PBE  PBE", "PBE"),
        ("sla+pw+pbx+pbc", "PBE"),
        ("SLA PW PSX PSC", "PBEsol"),
        ("SLA  PZ   NOGX NOGC", "LDA"),
        ("SLA  PW   TPSS TPSS", "SLA PW TPSS TPSS"),
    ],
)
def test_functionals_have_one_name(words: str, name: str) -> None:
    assert functional_of(words) == name


def test_the_one_file_of_an_element_is_taken(folder: Path) -> None:
    upf(folder, "Si.pbe.UPF")
    upf(folder, "s_pbe_v1.uspp.F.UPF", "S", kind="USPP")  # not silicon's, though its name begins alike
    upf(folder, "Si.pz.UPF", xc="PZ")
    upf(folder, "Si.rel-pbe.UPF", rel="full")
    (folder / "README.upf").write_text("no pseudopotential")
    found = choose(["S", "Si"], "PBE")
    assert {element: one.path.name for element, one in found.items()} == {
        "S": "s_pbe_v1.uspp.F.UPF",
        "Si": "Si.pbe.UPF",
    }
    assert found["Si"].digest == found["Si"].upf.digest[:12]
    assert choose(["Si"], "LDA")["Si"].path.name == "Si.pz.UPF"


def test_everything_that_is_lacking_is_said_at_once(folder: Path) -> None:
    upf(folder, "Si.1.upf")
    upf(folder, "Si.2.upf")
    upf(folder, "Ge.pz.upf", "Ge", xc="PZ")
    with pytest.raises(EngineError) as caught:
        choose(["Si", "Ge", "Ga"], "PBE")
    assert "Si has 2 pseudopotentials for PBE (Si.1.upf, Si.2.upf): keep one" in caught.value.what
    assert "Ge has no pseudopotential for PBE (Ge.pz.upf is for LDA)" in caught.value.what
    assert "Ga has no pseudopotential" in caught.value.what
    assert str(folder) in str(caught.value)


def test_a_table_decides_and_its_density_cutoff_is_part_of_the_digest(folder: Path) -> None:
    chosen = upf(folder, "Si.1.upf")
    upf(folder, "Si.2.upf")
    row = {"filename": "Si.1.upf", "md5": read_upf(chosen).md5, "cutoff_wfc": 30.0, "cutoff_rho": 240.0}
    (folder / "SSSP.json").write_text(json.dumps({"Si": row}))
    one = choose(["Si"], "PBE")["Si"]
    assert (one.path.name, one.cutoff_ry, one.density_cutoff_ry) == ("Si.1.upf", 30.0, 240.0)
    assert one.digest == f"{one.upf.digest[:12]}+rho240"
    with pytest.raises(EngineError, match="Ge is not in the folder's table"):
        choose(["Ge"], "PBE")
    chosen.write_text(chosen.read_text() + "<!-- another -->")
    with pytest.raises(EngineError, match=r"Si\.1\.upf is not the file of the folder's table: its MD5"):
        choose(["Si"], "PBE")


def test_a_table_does_not_make_a_file_fit(folder: Path) -> None:
    upf(folder, "Si.upf", xc="PZ")
    (folder / "table.json").write_text(json.dumps({"Si": {"filename": "Si.upf"}}))
    with pytest.raises(EngineError, match=r"Si has no pseudopotential for PBE \(Si\.upf is for Si, LDA\)"):
        choose(["Si"], "PBE")
    (folder / "more.json").write_text(json.dumps({"Ge": {"filename": "Ge.upf"}}))
    with pytest.raises(EngineError, match=r"several tables: more\.json, table\.json"):
        choose(["Si"], "PBE")


def test_an_exchanged_file_is_read_anew(folder: Path) -> None:
    path = upf(folder, "Si.upf")
    before = choose(["Si"], "PBE")["Si"].digest
    upf(folder, "Si.upf", kind="PAW")
    os.utime(path, ns=(1, 1))
    assert choose(["Si"], "PBE")["Si"].digest != before


def test_no_folder_and_an_empty_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not holds_any("PBE")
    upf(folder, "Si.upf", xc="PZ")
    assert not holds_any("PBE")
    upf(folder, "Ge.upf", "Ge")
    assert holds_any("PBE")
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(folder / "away"))
    with pytest.raises(EngineError, match="there is no folder"):
        holds_any("PBE")
    monkeypatch.delenv("ESPRESSO_PSEUDO")
    with pytest.raises(EngineError, match="no folder of pseudopotentials is named"):
        holds_any("PBE")
