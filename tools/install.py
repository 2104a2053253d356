"""Creates the virtual environment and installs materia at its tested versions; does nothing if that is done.

    python3 tools/install.py --extras gpaw,dashboard

Needs no root. Standard library only: this runs before anything is installed, on whichever Python 3 started it
(where that one is too old or too new, a fitting one is looked for on PATH).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import gpaw_build

ROOT = Path(__file__).resolve().parents[1]
SUPPORTED = ((3, 11), (3, 12), (3, 13))
STAMP = "materia-installed.json"


class InstallError(Exception):
    """What is missing and how to get it; shown as it is."""


def fitting_python() -> str | None:
    """The interpreter to re-run with, or None if the running one fits.

    Raises:
        InstallError: no Python that materia supports was found.
    """
    if sys.version_info[:2] in SUPPORTED:
        return None
    for major, minor in reversed(SUPPORTED):
        program = shutil.which(f"python{major}.{minor}")
        # a version manager's shim may be there without the version behind it
        if program and subprocess.run([program, "-c", ""], capture_output=True).returncode == 0:
            return program
    raise InstallError(
        f"materia needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}, and PATH has no other.\n"
        "  remedy: install one and name it: make run PYTHON=/path/to/python3.12"
    )


def missing_packages(*, need_compiler: bool) -> list[str]:
    """Debian names of the system packages that are missing for the running interpreter."""
    missing = []
    try:
        import ensurepip  # noqa: F401  (Debian splits it off)
        import venv  # noqa: F401
    except ImportError:
        missing.append("python3-venv")
    if need_compiler:
        if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
            missing.append("python3-dev")
        if not gpaw_build.find_compiler():
            missing.append("g++")
    return missing


def explain_missing(missing: list[str]) -> str:
    """The message for missing system packages, with the command that installs them."""
    what = {
        "python3-venv": "Python's venv module",
        "python3-dev": "Python's C headers (Python.h)",
        "g++": "a C++ compiler",
    }
    names = ", ".join(what[name] for name in missing)
    command = " ".join(missing)
    return (
        f"{names} missing for {sys.executable} ({sys.version.split()[0]}).\n"
        f"  remedy: on Debian or Ubuntu: sudo apt-get install {command}\n"
        "  (a Python beside the system's own has packages named after its version, or brings these itself)"
    )


def constraints_file(version: tuple[int, int], root: Path = ROOT) -> Path:
    """The tested versions for a Python version."""
    return root / "constraints" / f"py{version[0]}.{version[1]}.txt"


def pinned(constraints: Path, name: str) -> str:
    """The requirement line of one package, as in ``gpaw==26.7.0``.

    Raises:
        InstallError: the constraints do not pin it.
    """
    for line in constraints.read_text().splitlines():
        if re.match(rf"{re.escape(name)}==", line, flags=re.IGNORECASE):
            return line.split("#")[0].strip()
    raise InstallError(f"{name} is not pinned in {constraints}.\n  remedy: restore the file from the repository")


def digest(constraints: Path, root: Path = ROOT) -> str:
    """Hash of what decides what gets installed: pyproject.toml and the constraints."""
    return hashlib.sha256((root / "pyproject.toml").read_bytes() + constraints.read_bytes()).hexdigest()


def is_current(venv: Path, wanted: str, extras: set[str]) -> bool:
    """Whether the environment holds exactly what ``wanted`` stands for, with at least these extras."""
    try:
        stamp = json.loads((venv / STAMP).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return stamp["digest"] == wanted and extras <= set(stamp["extras"]) and (venv / "bin/python").exists()


def installed_extras(venv: Path) -> set[str]:
    """Extras a former run installed, so that a new one does not lose them."""
    try:
        return set(json.loads((venv / STAMP).read_text())["extras"])
    except (FileNotFoundError, json.JSONDecodeError):
        return set()


def installed_version(python: Path, name: str) -> str:
    """Version of a package in the environment; empty if it is not there."""
    code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    answer = subprocess.run([str(python), "-c", code, name], capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def create(venv: Path) -> Path:
    """Creates the environment, or checks that the one there has the running Python's version.

    Raises:
        InstallError: an environment of another Python version is in the way.
    """
    python = venv / "bin/python"
    there = python_version(python)
    wanted = "{}.{}".format(*sys.version_info[:2])
    if there and there != wanted:
        raise InstallError(f"{venv} holds Python {there}, asked for is {wanted}.\n  remedy: make clean, then again")
    if there and subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return python
    say(f"creating {venv} with Python {sys.version.split()[0]}")
    # --clear only where the interpreter is gone; one cut short before it had pip is completed
    clear = [] if there else ["--clear"]
    subprocess.run([sys.executable, "-m", "venv", *clear, str(venv)], check=True)
    return python


def python_version(python: Path) -> str:
    """Version of an interpreter, as in ``3.11``; empty if it does not run."""
    code = "import sys; print('{}.{}'.format(*sys.version_info[:2]))"
    try:
        answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def install(venv: Path, extras: set[str], *, rebuild_gpaw: bool = False) -> bool:
    """Installs materia, editable, with these extras at the tested versions.

    Returns:
        False if everything was there already.

    Raises:
        InstallError: something the machine lacks.
        subprocess.CalledProcessError: pip failed; its output is on the terminal.
    """
    constraints = constraints_file(sys.version_info[:2])
    wanted = digest(constraints)
    if is_current(venv, wanted, extras) and not rebuild_gpaw:
        return False
    extras = extras | installed_extras(venv)
    missing = missing_packages(need_compiler=False)
    if missing:
        raise InstallError(explain_missing(missing))
    python = create(venv)
    if "gpaw" in extras:
        install_gpaw(python, venv / "wheels", constraints, rebuild=rebuild_gpaw)
    target = f"{ROOT}[{','.join(sorted(extras))}]" if extras else str(ROOT)
    say(f"installing materia[{','.join(sorted(extras))}] at the versions of {constraints.relative_to(ROOT)}")
    pip(python, "install", "--constraint", str(constraints), "--editable", target)
    if "gpaw" in extras:
        check_loads(python)  # not before: it needs numpy
    (venv / STAMP).write_text(json.dumps({"digest": wanted, "extras": sorted(extras)}))
    return True


def install_gpaw(python: Path, wheels: Path, constraints: Path, *, rebuild: bool) -> None:
    """Builds and installs GPAW unless the pinned version is there.

    Raises:
        InstallError: headers or a compiler are missing, or the build failed.
    """
    requirement = pinned(constraints, "gpaw")
    if installed_version(python, "gpaw") == requirement.split("==")[1] and not rebuild:
        return
    say(f"building {requirement} (about a minute)")
    if rebuild and wheels.is_dir():
        shutil.rmtree(wheels)
    try:
        say(gpaw_build.build_wheel(python, requirement, wheels, constraints))
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        missing = missing_packages(need_compiler=True)
        if missing:
            raise InstallError(explain_missing(missing)) from error
        raise InstallError(
            f"{requirement} could not be built; the compiler's output is above.\n"
            "  remedy: see docs/installation.md, 'When GPAW does not build'"
        ) from error
    offline = ("--no-index", "--find-links", str(wheels))
    pip(python, "install", "--no-deps", "--force-reinstall", *offline, requirement)


def check_loads(python: Path, module: str = "_gpaw") -> None:
    """Loads GPAW's compiled part once.

    Raises:
        InstallError: a library it was linked with is not found when it runs.
    """
    answer = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, text=True)
    if answer.returncode != 0:
        reason = answer.stderr.strip().splitlines()[-1]
        raise InstallError(
            f"GPAW was installed but does not load: {reason}\n"
            "  remedy: load the module or set LD_LIBRARY_PATH as when it was built, or build again: make gpaw"
        )


def pip(python: Path, *arguments: str) -> None:
    """Runs the environment's pip, quietly unless ``VERBOSE`` is set."""
    quiet = [] if os.environ.get("VERBOSE") else ["--quiet"]
    subprocess.run(
        [str(python), "-m", "pip", *arguments, *quiet],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        check=True,
    )


def say(text: str) -> None:
    """Progress for people."""
    print(f"[install] {text}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 0 when everything is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where the virtual environment goes")
    parser.add_argument("--extras", default="", help="comma-separated extras of materia, such as gpaw,dashboard,dev")
    parser.add_argument("--rebuild-gpaw", action="store_true", help="build GPAW again with the libraries found now")
    given = parser.parse_args(arguments)
    try:
        other = fitting_python()
        if other:
            return subprocess.run([other, *sys.argv]).returncode
        extras = {name for name in given.extras.split(",") if name}
        if install(given.venv, extras, rebuild_gpaw=given.rebuild_gpaw):
            say("done")
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: this command failed, its output is above:\n  {' '.join(error.cmd)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
