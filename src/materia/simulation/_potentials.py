"""Interatomic potentials: any ASE calculator by import path, and everything that a value of it depends on.

A potential is identified by its import path, its arguments, the versions of the installed packages that offer it and
the SHA-256 of its weights. All of that is found without importing it: what a path names is run in a job's process only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from materia.crystal import symbol
from materia.errors import EngineError

WEIGHTS: Final = (".pt", ".pth", ".tar", ".ckpt", ".model", ".safetensors", ".onnx", ".npz", ".h5", ".bin", ".pb")
_DIGITS: Final = 12
# Packages whose name is not that of the module, and those that materia has an extra for.
_INSTALL: Final = {"chgnet": "'materia[potentials]'", "mace": "mace-torch", "sevenn": "sevenn", "matgl": "matgl"}
# The metals of ASE's effective medium theory that are fcc (ase.calculators.emt.parameters); C, N, O, H are there for
# molecules on them only.
_EMT: Final = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")


class PotentialSettings(BaseModel):
    """A potential as a campaign file names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calculator: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$",
        description="import path of a class or function that returns an ASE calculator: package.module:Name",
    )
    arguments: Mapping[str, JsonValue] = Field(default_factory=dict, description="its keyword arguments")
    weights: tuple[str, ...] = Field((), description="files it reads that are not in its package")
    elements: tuple[str, ...] | None = Field(None, description="those it knows; null: not stated")
    force_tolerance: float = Field(0.01, gt=0, description="largest force left after relaxation, eV/Å")
    stress_tolerance: float = Field(0.05, gt=0, description="largest stress component left after relaxation, GPa")


class Potential(BaseModel):
    """A potential as found on a machine: part of a level.

    Attributes:
        calculator, arguments, weights, elements: as in :class:`PotentialSettings`.
        packages: distribution -> version, of those that offer the module; empty where none does.
        files: file -> SHA-256 (12 hex digits): weights in the packages, named ones, arguments that are files, and the
            source of a module that no package offers. What is fetched at run time is not among them unless named.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calculator: str
    arguments: Mapping[str, JsonValue] = Field(default_factory=dict)
    weights: tuple[str, ...] = ()
    elements: tuple[str, ...] | None = None
    packages: Mapping[str, str] = Field(default_factory=dict)
    files: Mapping[str, str] = Field(default_factory=dict)

    @property
    def module(self) -> str:
        return self.calculator.partition(":")[0]

    @property
    def package(self) -> str:
        """The module's first name."""
        return self.module.partition(".")[0]

    @property
    def install(self) -> str:
        """The command that installs what offers the module, as far as its name tells."""
        return f"pip install {_INSTALL.get(self.package, self.package)}"


# The rows of CHGNet's embedding of atoms, hydrogen to plutonium; the package does not say which it was trained on.
_CHGNET: Final = tuple(symbol(z) for z in range(1, 95))

# Those that were run here. Others are named by their import path (docs/engines.md).
PRESETS: Final = {
    "chgnet": PotentialSettings(
        calculator="chgnet.model.dynamics:CHGNetCalculator",
        arguments={"use_device": "cpu", "on_isolated_atoms": "error"},
        elements=_CHGNET,
    ),
    "emt": PotentialSettings(calculator="ase.calculators.emt:EMT", elements=_EMT),
}


def found_here(wanted: PotentialSettings | Potential) -> Potential:
    """The potential with what this machine has of it; without packages and files where its module is not installed.

    Raises:
        EngineError: a file of weights that is named is not there.
    """
    bare = Potential(
        calculator=wanted.calculator,
        arguments=dict(wanted.arguments),
        weights=wanted.weights,
        elements=wanted.elements,
    )
    packages, files = _installed(bare.package)
    if not packages and not files:
        return bare
    given = [value for value in bare.arguments.values() if isinstance(value, str) and Path(value).is_absolute()]
    for name in [*bare.weights, *(value for value in given if Path(value).is_file())]:
        path = Path(name)
        if not path.is_file():
            raise EngineError(f"the weights {name!r} are not there", where=bare.calculator, remedy="check the path")
        files = {**files, name: _sha256(path, path.stat().st_mtime_ns)}
    return bare.model_copy(update={"packages": packages, "files": dict(sorted(files.items()))})


def identity(potential: Potential) -> str:
    """Digest of everything a value of this potential depends on (12 hex digits)."""
    text = json.dumps(potential.model_dump(mode="json", exclude={"elements"}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@cache
def _installed(package: str) -> tuple[dict[str, str], dict[str, str]]:
    """(versions of the distributions that offer a top-level module; digests of their weights, or of its source)."""
    names = sorted(set(packages_distributions().get(package, ())))
    if names:
        held = {str(file): Path(str(place)) for name in names for file, place in _weights(name)}
        return {name: version(name) for name in names}, {
            name: _sha256(path, path.stat().st_mtime_ns) for name, path in sorted(held.items())
        }
    return {}, {name: _sha256(path, path.stat().st_mtime_ns) for name, path in _sources(package)}


def _weights(name: str) -> Iterator[tuple[Any, Any]]:
    try:
        listed = distribution(name).files or ()
    except PackageNotFoundError:
        return
    for file in listed:
        if file.suffix in WEIGHTS and Path(str(file.locate())).is_file():
            yield file, file.locate()


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    """Python files and weights of a module that was not installed as a package (it lies on PYTHONPATH)."""
    try:
        spec = find_spec(package)  # a top-level name: nothing is imported
    except ValueError:  # __main__
        return
    if spec is None:
        return
    for folder in map(Path, spec.submodule_search_locations or ()):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", *WEIGHTS) and path.is_file():
                yield f"{package}/{path.relative_to(folder)}", path
    if not spec.submodule_search_locations and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin).name, Path(spec.origin)


@cache
def _sha256(path: Path, changed_ns: int) -> str:
    """Of a file as it was when last changed."""
    del changed_ns
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:_DIGITS]
