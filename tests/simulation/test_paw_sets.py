"""Which PAW dataset a calculation with GPAW takes, and that it is the one its key names."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from materia.crystal import Crystal
from materia.data.calculations import Calculation, read_calculations
from materia.resources import resource
from materia.simulation import ROUGH, engine, make_job

pytestmark = pytest.mark.gpaw
if not engine("gpaw").capabilities().available:
    pytest.skip("GPAW is not installed", allow_module_level=True)
SHIPPED = resource("data/paw/Ga.PBE.gz")
GALLIUM_PHOSPHIDE = Crystal.from_ase(bulk("GaP", "zincblende", a=5.51))
# What the engine says, then what GPAW itself finds once a calculation is set up.
ASKED = """
import hashlib, json
from pathlib import Path
from ase.build import bulk
from materia.crystal import Crystal
from materia.simulation import ROUGH, engine
gpaw = engine("gpaw")
digests = gpaw.pseudopotentials(["Ga", "P"], ROUGH)
crystal = Crystal.from_ase(bulk("GaP", "zincblende", a=5.51))
electrons = gpaw.n_electrons(crystal, ROUGH)
gpaw.calculator(crystal, ROUGH, Path("scf.txt"))
from gpaw.setup_data import search_for_file
used = {element: search_for_file(f"{element}.PBE") for element in digests}
print(json.dumps({
    "digests": digests, "electrons": electrons, "files": {element: path for element, (path, _) in used.items()},
    "used": {element: hashlib.sha256(text).hexdigest()[:12] for element, (_, text) in used.items()},
}))
"""


def asked(folder: Path, *first: Path) -> dict[str, Any]:
    variables = {k: v for k, v in os.environ.items() if k != "GPAW_SETUP_PATH"}
    variables |= {"GPAW_SETUP_PATH": os.pathsep.join(map(str, first))} if first else {}
    command = [sys.executable, "-c", ASKED]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["used"] == found["digests"]
    return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_gallium_is_ours_and_phosphorus_that_of_gpaw_data(tmp_path: Path) -> None:
    found = asked(tmp_path)
    assert Path(found["files"]["Ga"]) == SHIPPED
    assert "gpaw_data" in found["files"]["P"]
    assert found["electrons"] == 13 + 5
    assert found["digests"]["Ga"] == sha256(gzip.decompress(SHIPPED.read_bytes()))[:12]


def test_a_set_of_the_user_comes_before_ours(tmp_path: Path) -> None:
    """Of a packed and a plain file GPAW takes the packed one; and it takes brackets in a folder's name for a glob."""
    theirs = tmp_path / "sets [old]"
    theirs.mkdir()
    text = gzip.decompress(SHIPPED.read_bytes())
    (theirs / "Ga.PBE").write_bytes(text + b"<!-- plain -->\n")
    found = asked(tmp_path, tmp_path / "missing", theirs)
    assert Path(found["files"]["Ga"]) == theirs / "Ga.PBE"
    (theirs / "Ga.PBE.gz").write_bytes(gzip.compress(text + b"<!-- packed -->\n"))
    found = asked(tmp_path, tmp_path / "missing", theirs)
    assert found["digests"]["Ga"] == sha256(text + b"<!-- packed -->\n")[:12]


def test_the_log_of_a_calculation_names_our_set(tmp_path: Path) -> None:
    job = make_job("static", GALLIUM_PHOSPHIDE, ROUGH)
    (tmp_path / "job.json").write_text(json.dumps({**job.payload, "attempt": 1}))
    subprocess.run([sys.executable, *job.argv[1:]], cwd=tmp_path, capture_output=True, timeout=300, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "completed", result
    text = gzip.decompress(SHIPPED.read_bytes())
    assert result["provenance"]["pseudopotentials"]["Ga"] == sha256(text)[:12]
    (found,) = read_calculations(tmp_path / "scf.txt")
    assert isinstance(found, Calculation), found
    # what GPAW itself says it loaded
    assert found.settings["pseudopotentials"]["Ga"] == hashlib.md5(text, usedforsecurity=False).hexdigest()


def test_the_shipped_sets_are_those_that_their_page_describes() -> None:
    page = resource("data/paw/README.md").read_text()
    files = sorted(resource("data/paw").glob("*.gz"))
    assert [file.name for file in files] == ["Ga.PBE.gz"]
    for file in files:
        packed = file.read_bytes()
        assert sha256(packed) in page
        assert sha256(gzip.decompress(packed)) in page
        assert packed[4:8] == bytes(4)  # no time of packing: the same set is the same file
