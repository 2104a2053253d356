"""The recipe for a machine without internet: an empty environment, a folder of wheels, no index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import install
import pytest
from packaging.requirements import Requirement

pytestmark = [pytest.mark.slow, pytest.mark.gpaw, pytest.mark.timeout(1800)]
EXTRAS = ("gpaw", "dashboard")


def needed(name: str, extras: tuple[str, ...], found: dict[str, Distribution]) -> None:
    """Adds to ``found`` a package of this environment and what it asks for, by the metadata pip goes by."""
    for line in distribution(name).requires or []:
        wanted = Requirement(line)
        inside = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        key = wanted.name.lower().replace("_", "-")
        if inside and (key not in found or wanted.extras):
            known = key in found
            found[key] = distribution(wanted.name)
            if not known or wanted.extras:
                needed(wanted.name, tuple(wanted.extras), found)


def repack(package: Distribution, folder: Path) -> None:
    """The wheel that an installed package came from, without its scripts (pip writes those of entry points)."""
    lines = (package.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))  # py2.py3-none-any
    name = package.metadata["Name"].replace("-", "_").replace(".", "_")
    files = [f for f in package.files or [] if ".." not in f.parts and f.suffix != ".pyc"]
    with zipfile.ZipFile(folder / f"{name}-{package.version}-{tag}.whl", "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            if file.name not in ("INSTALLER", "REQUESTED", "direct_url.json"):
                archive.write(file.locate(), str(file))


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheelhouse` collects, taken from the environment the tests run in: no GB are fetched for a test."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    found: dict[str, Distribution] = {}
    try:
        needed("materia", EXTRAS, found)
    except ModuleNotFoundError as error:
        pytest.skip(f"this environment lacks a package of {EXTRAS}: {error}")
    for package in found.values():
        repack(package, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(install.ROOT)], check=True)
    return folder


def test_an_empty_environment_is_filled_from_the_wheelhouse_alone(wheelhouse: Path, tmp_path: Path) -> None:
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "COV", "PIP_"))}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # who asks the network gets no answer
    variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **nowhere}
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, env=variables)
    python = tmp_path / "venv/bin/python"

    def run(*command: str | Path, timeout: float = 1500) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=timeout, check=False
        )

    recipe = ("install", "--no-compile", "--no-index", "--find-links", wheelhouse, f"materia[{','.join(EXTRAS)}]")
    done = run(python, "-m", "pip", *recipe)
    assert done.returncode == 0, done.stderr
    done = run(tmp_path / "venv/bin/materia", "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert found["engine gpaw"]["ok"]
    assert found["dataset"]["ok"]
    where = run(python, "-c", "import materia, gpaw; print(materia.__file__, gpaw.__file__)").stdout.split()
    assert all(Path(path).is_relative_to(tmp_path) for path in where)
