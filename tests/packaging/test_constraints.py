"""The committed constraints pin everything pyproject.toml asks for, inside its ranges, and name no machine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import install
import pin
import pytest
from packaging.utils import canonicalize_name

VERSIONS = [f"{major}.{minor}" for major, minor in install.SUPPORTED]


def pins(root: Path, version: str) -> dict[str, str]:
    lines = (root / f"constraints/py{version}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_requirement_is_pinned_inside_its_range(root: Path, version: str) -> None:
    tested = pins(root, version)
    for requirement in pin.stated(pin.EXTRAS, root):
        name = canonicalize_name(requirement.name)
        assert name in tested, f"{name} is not pinned: run make pin"
        assert tested[name] in requirement.specifier, f"{name} {tested[name]} is outside {requirement}"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_holds_plain_public_versions_only(root: Path, version: str) -> None:
    for line in (root / f"constraints/py{version}.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9][A-Za-z0-9.]*", line), line


@pytest.mark.parametrize("version", VERSIONS)
def test_torch_is_pinned_without_a_local_version(root: Path, version: str) -> None:
    assert pins(root, version)["torch"] == "2.13.0"


def test_supported_pythons_are_those_of_the_package(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    stated = [c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert stated == VERSIONS


def test_the_closure_holds_what_is_needed_and_no_more() -> None:
    plain = pin.closure(pin.stated(()))
    assert {"numpy", "torch", "markupsafe"} <= plain.keys()  # markupsafe: by way of jinja2
    assert not {"materia", "pytest", "gpaw", "ruff"} & plain.keys()
    assert "pytest" in pin.closure(pin.stated(("dev",)))


def test_local_versions_are_dropped_and_gpu_libraries_kept_apart() -> None:
    text = pin.constraints({"torch": "2.13.0+cpu", "ase": "3.29.0"}, ["triton==3.7.1"], "3.11")
    lines = text.splitlines()
    assert lines[1:3] == ["ase==3.29.0", "torch==2.13.0"]
    assert lines[-1] == "triton==3.7.1"


def test_gpu_pins_survive_a_machine_without_them(tmp_path: Path) -> None:
    path = tmp_path / "py3.11.txt"
    path.write_text(pin.constraints({"ase": "3.29.0"}, ["triton==3.7.1", "nvidia-nvtx==13.0.85"], "3.11"))
    assert pin.kept(path) == ["nvidia-nvtx==13.0.85", "triton==3.7.1"]
    assert pin.kept(tmp_path / "absent.txt") == []
