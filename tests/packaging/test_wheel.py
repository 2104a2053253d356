"""A wheel in an empty environment works without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import install
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(install.ROOT)], check=True)
    (built,) = folder.glob("materia-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with nothing but the wheel, GPAW and what they ask for; its bin folder."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin/python"
    constraints = install.constraints_file(sys.version_info[:2])
    built_before = Path(sys.prefix, "wheels")  # by make, for the environment these tests run in
    offered = ["--find-links", str(built_before)] if any(built_before.glob("gpaw-*.whl")) else []
    if not offered:
        install.install_gpaw(python, folder / "wheels", constraints, rebuild=False)
    install.pip(python, "install", "--constraint", str(constraints), *offered, f"{wheel}[gpaw]")
    return folder / "bin"


def run(bin_folder: Path, cwd: Path, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a program of the environment, in a folder and with variables that know nothing of the checkout."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "COV"))}
    variables["PATH"] = f"{bin_folder}:/usr/bin:/bin"
    return subprocess.run(
        [str(bin_folder / command[0]), *command[1:]],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_the_wheel_carries_what_the_package_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("data", "experiments", "slurm"):
        assert any(name.startswith(f"materia/_data/{folder}/") for name in names), folder
    assert {"materia/py.typed", "materia/_data/experiments/tiny.yaml", "materia/_data/data/references.json"} <= names
    assert {"materia/_data/data/paw/Ga.PBE.gz", "materia/_data/data/paw/README.md"} <= names
    assert not [name for name in names if "benchmarks" in name or "__pycache__" in name]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"materia"}  # nothing else at the top


def test_every_packaged_file_is_found_from_the_installed_package(environment: Path, tmp_path: Path) -> None:
    code = (
        "import materia\nfrom materia.resources import resource\nprint(materia.__file__)\n"
        "for name in ('data/references.json', 'experiments/tiny.yaml', 'slurm'):\n    print(resource(name))"
    )
    answer = run(environment, tmp_path, "python", "-c", code)
    assert answer.returncode == 0, answer.stderr
    for line in answer.stdout.split():
        assert Path(line).is_relative_to(environment.parent), line


def test_properties_are_predicted_right_after_installation(environment: Path, tmp_path: Path) -> None:
    lattice = "0.0 2.82 2.82\n2.82 0.0 2.82\n2.82 2.82 0.0\n"
    (tmp_path / "POSCAR").write_text(f"NaCl\n1.0\n{lattice}Na Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    answer = run(environment, tmp_path, "materia", "predict", "POSCAR", "--json")
    assert answer.returncode == 0, answer.stderr
    (row,) = json.loads(answer.stdout)
    assert row["formula"] == "NaCl"
    assert 3.0 < row["predictions"]["gap_pbe_mp"]["mean"] < 7.0
    assert row["predictions"]["is_metal"]["probability"] < 0.1


def test_a_shipped_example_runs_to_its_report(environment: Path, tmp_path: Path) -> None:
    answer = run(environment, tmp_path, "materia", "run", "tiny", timeout=1200)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    (campaign,) = (path.parent for path in tmp_path.rglob("campaign.sqlite"))
    assert (campaign / "report/index.html").stat().st_size > 10_000
    assert (campaign / "ranking.json").exists()
    assert list(campaign.glob("jobs/*/*/result.json"))
