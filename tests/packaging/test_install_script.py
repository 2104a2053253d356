"""`make run` on a machine: what it looks for, what it says is missing, and that it does nothing twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import install
import pytest


def program(path: Path, text: str) -> None:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the two files that decide what gets installed."""
    (tmp_path / "constraints").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'materia'\n")
    (tmp_path / "constraints/py3.11.txt").write_text("# tested\ngpaw-data==1.2.1\ngpaw==26.7.0\n")
    return tmp_path


def stamp(venv: Path, digest: str, extras: list[str]) -> None:
    program(venv / "bin/python", "exit 0")
    (venv / install.STAMP).write_text(json.dumps({"digest": digest, "extras": extras}))


def test_the_environment_is_current_until_a_deciding_file_changes(checkout: Path) -> None:
    pins = checkout / "constraints/py3.11.txt"
    before = install.digest(pins, checkout)
    venv = checkout / "venv"
    assert not install.is_current(venv, before, set())
    stamp(venv, before, ["dashboard", "gpaw"])
    assert install.is_current(venv, before, {"gpaw", "dashboard"})
    assert install.is_current(venv, before, {"gpaw"})
    assert not install.is_current(venv, before, {"gpaw", "dev"})
    for path in (pins, checkout / "pyproject.toml"):
        path.write_text(path.read_text() + "# changed\n")
        after = install.digest(pins, checkout)
        assert after != before
        assert not install.is_current(venv, after, {"gpaw"})
        before = after


def test_a_stamp_without_its_interpreter_or_cut_short_counts_for_nothing(checkout: Path) -> None:
    venv = checkout / "venv"
    stamp(venv, "d", ["gpaw"])
    (venv / "bin/python").unlink()
    assert not install.is_current(venv, "d", {"gpaw"})
    stamp(venv, "d", ["gpaw"])
    (venv / install.STAMP).write_text('{"digest": "d", "ex')
    assert not install.is_current(venv, "d", {"gpaw"})
    assert install.installed_extras(venv) == set()


def test_extras_of_a_former_run_are_remembered(checkout: Path) -> None:
    stamp(checkout / "venv", "d", ["dev", "gpaw"])
    assert install.installed_extras(checkout / "venv") == {"dev", "gpaw"}


def test_the_pin_of_a_package_is_its_own_line(checkout: Path) -> None:
    assert install.pinned(checkout / "constraints/py3.11.txt", "gpaw") == "gpaw==26.7.0"
    with pytest.raises(install.InstallError, match="ase is not pinned"):
        install.pinned(checkout / "constraints/py3.11.txt", "ase")


def test_missing_system_packages_are_named_with_the_command() -> None:
    text = install.explain_missing(["python3-venv", "python3-dev", "g++"])
    assert "sudo apt-get install python3-venv python3-dev g++" in text
    assert "C++ compiler" in text
    assert "Python.h" in text


def test_no_compiler_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "g++" in install.missing_packages(need_compiler=True)
    assert "g++" not in install.missing_packages(need_compiler=False)


def test_missing_headers_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert "python3-dev" in install.missing_packages(need_compiler=True)
    (tmp_path / "Python.h").touch()
    assert "python3-dev" not in install.missing_packages(need_compiler=True)


def test_a_compiled_part_that_does_not_load_is_noticed() -> None:
    install.check_loads(Path(sys.executable), "math")
    with pytest.raises(install.InstallError, match=r"does not load: .*no_such_library.*\n.*make gpaw"):
        install.check_loads(Path(sys.executable), "no_such_library")


def test_an_environment_of_another_python_is_refused_and_left_alone(tmp_path: Path) -> None:
    program(tmp_path / "venv/bin/python", "echo 3.9")
    with pytest.raises(install.InstallError, match=r"holds Python 3\.9.*\n.*make clean"):
        install.create(tmp_path / "venv")
    assert (tmp_path / "venv/bin/python").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(tmp_path / "gone")
    python = install.create(venv)
    assert install.python_version(python) == "{}.{}".format(*sys.version_info[:2])
    pip = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True)
    assert pip.returncode == 0


def test_the_running_python_is_taken_if_it_fits() -> None:
    assert install.fitting_python() is None


def test_another_python_is_looked_for_and_a_dead_shim_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install, "SUPPORTED", ((2, 6), (2, 7)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(install.InstallError, match="make run PYTHON="):
        install.fitting_python()
    program(tmp_path / "python2.6", "exit 0")
    program(tmp_path / "python2.7", "exit 127")
    assert install.fitting_python() == str(tmp_path / "python2.6")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMakefile:
    def make(self, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", *arguments]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)

    def test_help_lists_every_documented_target(self, root: Path) -> None:
        answer = self.make(root, "help")
        assert answer.returncode == 0
        for target in ("run", "test", "lint", "wheel", "wheelhouse", "gpaw", "clean"):
            assert f"make {target} " in answer.stdout

    def test_without_python_the_packages_are_named(self, root: Path) -> None:
        answer = self.make(root, "run", "PYTHON=no-such-python")
        assert answer.returncode != 0
        assert "no-such-python not found" in answer.stdout
        assert "apt-get install python3 python3-venv python3-dev g++" in answer.stdout

    def test_run_installs_first_and_then_runs_the_quickstart(self, root: Path) -> None:
        answer = self.make(root, "--dry-run", "run", "VENV=some-venv")
        commands = answer.stdout.splitlines()
        where = [i for i, line in enumerate(commands) if "tools/install.py --venv some-venv" in line]
        assert len(where) == 1
        assert commands[-1] == "some-venv/bin/materia run experiments/quickstart.yaml"
        assert where[0] < len(commands) - 1
