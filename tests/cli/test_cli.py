"""The command line in its own process, as a user meets it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from materia.crystal import Crystal, write_structure
from materia.resources import resource

VERBS = (
    "run", "submit", "step", "status", "report", "pin", "veto", "approve", "trace",
    "doctor", "train", "tune", "predict", "screen", "plan", "replay", "init", "data",
)  # fmt: skip


def materia(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "materia.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


def test_help_names_every_verb() -> None:
    done = materia("--help")
    assert done.returncode == 0
    for verb in VERBS:
        assert verb in done.stdout


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['materia', '--version']\n"
        "from materia.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'gpaw', 'mlflow', 'optuna', 'pymatgen', 'ase', 'polars', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("materia ")


def test_doctor_says_what_is_there_and_whether_libxc_is() -> None:
    done = materia("doctor", "--json")
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert found["python"]["ok"]
    if "engine gpaw" in found and found["engine gpaw"]["ok"]:
        assert "gpaw: libxc" in found
    assert done.returncode == int(any(row["ok"] is False for row in found.values()))


def test_doctor_names_the_paw_sets_that_the_references_were_not_computed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPAW_SETUP_PATH", raising=False)

    def references() -> dict[str, Any]:
        rows = json.loads(materia("doctor", "--json").stdout)
        row: dict[str, Any] = next(row for row in rows if row["name"] == "references")
        return row

    row = references()
    assert (row["ok"], row["detail"]) == (True, "48 elements")
    if find_spec("gpaw_data") is None:
        pytest.skip("GPAW's PAW datasets are not installed")
    text = gzip.decompress(resource("data/paw/Ga.PBE.gz").read_bytes())
    (tmp_path / "Ga.PBE").write_bytes(text + b"<!-- another -->\n")
    monkeypatch.setenv("GPAW_SETUP_PATH", str(tmp_path))
    row = references()
    assert row["ok"] is None
    assert " for Ga: " in row["detail"]
    assert "GPAW_SETUP_PATH" in row["remedy"]


def test_doctor_asks_for_the_engine_of_the_campaign_and_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATERIA_PW_COMMAND", "no-such-pw.x")
    materia("init", "tiny", cwd=tmp_path)
    file = tmp_path / "tiny.yaml"
    rows = {row["name"]: row for row in json.loads(materia("doctor", "--campaign", str(file), "--json").stdout)}
    assert rows["engine espresso"]["ok"] is None, "this campaign computes with GPAW"
    file.write_text(file.read_text().replace("level: rough", "level: espresso-rough"))
    rows = {row["name"]: row for row in json.loads(materia("doctor", "--campaign", str(file), "--json").stdout)}
    missing = rows["engine espresso"]
    assert (missing["ok"], "no-such-pw.x" in missing["detail"]) == (False, True)
    assert "apt-get install quantum-espresso" in missing["remedy"]
    refused = materia("run", str(file), cwd=tmp_path)
    assert refused.returncode == 1
    assert "no-such-pw.x" in refused.stderr
    assert not (tmp_path / "runs").exists(), "nothing is written before"


def test_init_copies_a_shipped_campaign_and_refuses_to_overwrite(tmp_path: Path) -> None:
    assert materia("init", "tiny", cwd=tmp_path).returncode == 0
    assert "name: tiny" in (tmp_path / "tiny.yaml").read_text()
    again = materia("init", "tiny", cwd=tmp_path)
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_data_info_and_export(tmp_path: Path) -> None:
    info = json.loads(materia("data", "info", "--json").stdout)
    assert info["licence"] == "CC-BY-4.0"
    done = materia("data", "export", str(tmp_path / "out.db"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.db").is_file()
    shown = subprocess.run(
        [sys.executable, "-m", "ase", "db", str(tmp_path / "out.db"), "-n"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[0] == str(info["n_computed"])


@pytest.mark.parametrize("verb", ["status", "report"])
def test_verbs_on_a_folder_without_a_campaign(tmp_path: Path, verb: str) -> None:
    done = materia(verb, str(tmp_path))
    assert done.returncode == 1
    assert "no campaign" in done.stderr
    assert "remedy" in done.stderr


def test_predict_without_a_model(tmp_path: Path) -> None:
    write_structure(Crystal.from_ase(bulk("Si", "diamond", a=5.47)), tmp_path / "si.cif")
    done = materia("predict", str(tmp_path / "si.cif"), "--model", str(tmp_path))
    assert done.returncode == 1
    assert "no trained model" in done.stderr
