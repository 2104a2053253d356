"""What GPAW is built with follows from what the compiler can link."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import gpaw_build
import pytest
from gpaw_build import Probes

COMPILER = gpaw_build.find_compiler()
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C++ compiler on this machine")


def settings(probes: Probes) -> dict[str, Any]:
    """The site config as GPAW's setup.py reads it: executed."""
    names: dict[str, Any] = {}
    exec(gpaw_build.site_config(probes), names)
    names.pop("__builtins__")
    return names


def test_nothing_found_turns_every_library_off() -> None:
    assert settings(Probes("g++")) == {
        "mpi": False,
        "fftw": False,
        "noblas": True,
        "nolibxc": True,
        "libraries": [],
    }


def test_everything_found_is_linked() -> None:
    found = Probes("g++", libxc=True, blas="openblas", fftw=True, mpi_compiler="mpic++")
    assert settings(found) == {
        "mpi": True,
        "compiler": "mpic++",
        "fftw": True,
        "noblas": False,
        "nolibxc": False,
        "libraries": ["xc", "openblas", "fftw3"],
    }


def test_a_libxc_of_its_own_folder_is_found_again_when_the_program_runs() -> None:
    names = settings(Probes("g++", libxc=True, libxc_prefix="/opt/libxc 6"))
    assert names["libraries"] == ["xc"]
    assert names["include_dirs"] == ["/opt/libxc 6/include"]
    assert names["library_dirs"] == names["runtime_library_dirs"] == ["/opt/libxc 6/lib"]


@pytest.mark.parametrize("libxc", [True, False])
@pytest.mark.parametrize("blas", ["", "blas"])
def test_summary_says_what_is_missing(libxc: bool, blas: str) -> None:
    text = Probes("g++", libxc=libxc, blas=blas).summary()
    assert ("libxc: yes" in text) == libxc
    assert ("BLAS: blas" in text) == bool(blas)


def test_without_mpi_the_cpp_compiler_stands_in_for_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPAW_CONFIG", raising=False)
    monkeypatch.setenv("CC", "gcc")
    environment = gpaw_build.build_environment(Probes("clang++"), Path("site.py"), Path("pins.txt"))
    assert environment["CC"] == environment["CXX"] == "clang++"
    assert environment["GPAW_CONFIG"] == "site.py"
    assert environment["PIP_CONSTRAINT"] == environment["PIP_BUILD_CONSTRAINT"] == "pins.txt"


def test_with_mpi_the_compilers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc-12")
    found = Probes("g++", mpi_compiler="mpic++")
    assert gpaw_build.build_environment(found, Path("s"), Path("c"))["CC"] == "gcc-12"


def test_a_site_config_of_the_user_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPAW_CONFIG", "/home/me/siteconfig.py")
    environment = gpaw_build.build_environment(Probes("g++"), Path("site.py"), Path("pins.txt"))
    assert environment["GPAW_CONFIG"] == "/home/me/siteconfig.py"


def test_cxx_names_the_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    assert gpaw_build.find_compiler() == ""
    program = tmp_path / "my-c++"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "my-c++ -O3")
    assert gpaw_build.find_compiler() == "my-c++ -O3"
    monkeypatch.delenv("CXX")
    assert gpaw_build.find_compiler() == ""


@needs_compiler
@pytest.mark.parametrize(
    ("source", "flags", "expected"),
    [
        ("#include <algorithm>\nint main() { return std::max(0, -1); }", (), True),
        ("#include <no_such_header.h>\nint main() { return 0; }", (), False),
        ("int main() { return 0; }", ("-lno_such_library",), False),
        ("int main() { return 3; }", (), False),
    ],
)
def test_a_probe_compiles_links_and_runs(source: str, flags: tuple[str, ...], expected: bool) -> None:
    assert gpaw_build.links(source, COMPILER, flags) is expected


@needs_compiler
def test_a_probe_may_only_link() -> None:
    assert gpaw_build.links("int main() { return 3; }", COMPILER, run=False)


@needs_compiler
def test_a_libxc_named_by_libxc_dir_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("include", "lib"):
        (tmp_path / folder).mkdir()
    declaration = 'extern "C" void xc_version(int *major, int *minor, int *micro)'
    (tmp_path / "include/xc.h").write_text(f"{declaration};\n")
    source = tmp_path / "xc.cpp"
    source.write_text(f"{declaration} {{ *major = 6; *minor = 2; *micro = 0; }}\n")
    library = tmp_path / "lib/libxc.so"
    subprocess.run([*COMPILER.split(), "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    monkeypatch.setenv("LIBXC_DIR", str(tmp_path))
    found = gpaw_build.probe(COMPILER)
    assert found.libxc
    assert found.libxc_prefix == str(tmp_path)


@needs_compiler
def test_an_empty_libxc_dir_finds_no_more_than_the_compiler_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIBXC_DIR", raising=False)
    without = gpaw_build.probe(COMPILER)
    monkeypatch.setenv("LIBXC_DIR", str(tmp_path))
    assert gpaw_build.probe(COMPILER).libxc == without.libxc
