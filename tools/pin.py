"""Writes the versions installed in this environment, of what materia needs and nothing else, to constraints/.

    make pin    (or: .venv/bin/python tools/pin.py)

Run it in an environment in which the tests passed. Local versions are dropped (``2.13.0+cpu`` is pinned as
``2.13.0``, so that a machine with a GPU gets the build for it). The libraries that only a GPU build of torch
brings are not installed everywhere; their pins are kept from the file as it was.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("gpaw", "dashboard", "dev")
GPU_ONLY = re.compile(r"(nvidia-|cuda-|triton==)")


def stated(extras: Iterable[str], root: Path = ROOT) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def closure(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Installed versions of the requirements and of all they need in turn, by canonical name."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(r.name), extra) for r in requirements for extra in ("", *r.extras)]
    while waiting:
        package, extra = waiting.pop()
        if (package, extra) in seen:
            continue
        seen.add((package, extra))
        try:
            distribution = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            continue  # a GPU library of torch on a machine whose build has none
        found[package] = distribution.version
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, wanted) for wanted in ("", *requirement.extras)]
    return found


def kept(path: Path) -> list[str]:
    """The pins of libraries that only a GPU build of torch brings, as they stand in the file."""
    if not path.is_file():
        return []
    return [line for line in path.read_text().splitlines() if GPU_ONLY.match(line)]


def constraints(versions: dict[str, str], gpu: list[str], python: str) -> str:
    """Text of a constraints file."""
    pins = [f"{name}=={version.split('+')[0]}" for name, version in sorted(versions.items())]
    pins = [pin for pin in pins if not GPU_ONLY.match(pin)]
    head = [f"# Versions materia was tested with on Python {python}; written by tools/pin.py."]
    tail = ["# Only where torch is a build for GPUs:", *sorted(gpu)] if gpu else []
    return "\n".join([*head, *pins, *tail]) + "\n"


def main() -> None:
    """Writes constraints/pyX.Y.txt for the running Python."""
    python = "{}.{}".format(*sys.version_info[:2])
    path = ROOT / "constraints" / f"py{python}.txt"
    versions = closure(stated(EXTRAS))
    gpu = [f"{name}=={version}" for name, version in versions.items() if GPU_ONLY.match(f"{name}==")]
    path.write_text(constraints(versions, gpu or kept(path), python))
    print(f"{path.relative_to(ROOT)}: {len(versions)} packages")


if __name__ == "__main__":
    main()
