"""Builds GPAW's wheel with what this machine offers: libxc, BLAS, FFTW, MPI. None of them is needed.

GPAW comes as a source package. Left alone, its build hands C++ code to the C compiler when there is no MPI
compiler, and expects libxc and BLAS whether they are there or not; so the compiler is named here, and a site
config is written for what a probe could link.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

COMPILERS = ("g++", "c++", "clang++")
MPI_COMPILERS = ("mpic++", "mpicxx")
BLAS_LIBRARIES = ("openblas", "blas")

_LIBXC = """
#include <xc.h>
int main() { int major, minor, micro; xc_version(&major, &minor, &micro); return major < 4; }
"""
_BLAS = """
extern "C" double ddot_(const int *, const double *, const int *, const double *, const int *);
int main() { int n = 2, one = 1; double x[2] = {3.0, 4.0}; return ddot_(&n, x, &one, x, &one) != 25.0; }
"""
_FFTW = """
#include <fftw3.h>
int main() { void *p = fftw_malloc(16); fftw_free(p); return p == 0; }
"""
_MPI = """
#include <mpi.h>
int main() { int flag; return MPI_Initialized(&flag); }
"""


@dataclass(frozen=True)
class Probes:
    """What was found on this machine; empty strings and False mean: not there.

    Attributes:
        compiler: the C++ compiler, such as ``g++``.
        libxc: the libxc library and its header can be compiled against.
        libxc_prefix: where libxc lies if not in the compiler's own search path (from ``LIBXC_DIR``).
        blas: name of the BLAS library to link, such as ``openblas``.
        fftw: FFTW 3 can be compiled against.
        mpi_compiler: a working MPI C++ compiler wrapper.
    """

    compiler: str
    libxc: bool = False
    libxc_prefix: str = ""
    blas: str = ""
    fftw: bool = False
    mpi_compiler: str = ""

    def summary(self) -> str:
        """One line for people: what GPAW will be built with."""
        parts = {
            "libxc": "yes" if self.libxc else "no (LDA and PBE are built in)",
            "BLAS": self.blas or "no (SciPy's is used)",
            "FFTW": "yes" if self.fftw else "no (NumPy's is used)",
            "MPI": self.mpi_compiler or "no (one process per job)",
        }
        return ", ".join(f"{name}: {found}" for name, found in parts.items())


def find_compiler() -> str:
    """Name of the C++ compiler, ``CXX`` first; empty if there is none."""
    wanted = os.environ.get("CXX")
    names = (wanted,) if wanted else COMPILERS
    return next((name for name in names if shutil.which(name.split()[0])), "")


def links(source: str, compiler: str, flags: tuple[str, ...] = (), *, run: bool = True) -> bool:
    """Whether ``source`` compiles, links and (unless ``run`` is False) exits with 0."""
    with tempfile.TemporaryDirectory() as folder:
        code, program = Path(folder, "probe.cpp"), Path(folder, "probe")
        code.write_text(source)
        command = [*compiler.split(), str(code), "-o", str(program), *flags]
        try:
            if subprocess.run(command, capture_output=True, timeout=120).returncode != 0:
                return False
            return not run or subprocess.run([str(program)], capture_output=True, timeout=30).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def probe(compiler: str) -> Probes:
    """Asks the compiler what it can link. ``LIBXC_DIR`` names a libxc outside its search path."""
    prefix = os.environ.get("LIBXC_DIR", "")
    where = (f"-I{prefix}/include", f"-L{prefix}/lib", f"-Wl,-rpath,{prefix}/lib") if prefix else ()
    libxc = links(_LIBXC, compiler, (*where, "-lxc"))
    return Probes(
        compiler=compiler,
        libxc=libxc,
        libxc_prefix=prefix if libxc else "",
        blas=next((name for name in BLAS_LIBRARIES if links(_BLAS, compiler, (f"-l{name}",))), ""),
        fftw=links(_FFTW, compiler, ("-lfftw3",)),
        # only linked: a login node may refuse to start MPI programs
        mpi_compiler=next((c for c in MPI_COMPILERS if shutil.which(c) and links(_MPI, c, run=False)), ""),
    )


def site_config(found: Probes) -> str:
    """The text of GPAW's site config for what was found."""
    libraries = [
        *(["xc"] if found.libxc else []),
        *([found.blas] if found.blas else []),
        *(["fftw3"] if found.fftw else []),
    ]
    lines = [
        "# written by tools/gpaw_build.py",
        f"mpi = {bool(found.mpi_compiler)}",
        f"fftw = {found.fftw}",
        f"noblas = {not found.blas}",
        f"nolibxc = {not found.libxc}",
        f"libraries = {libraries!r}",
    ]
    if found.mpi_compiler:
        lines.append(f"compiler = {found.mpi_compiler!r}")
    if found.libxc_prefix:
        lines.append(f"include_dirs = [{found.libxc_prefix + '/include'!r}]")
        lines.append(f"library_dirs = [{found.libxc_prefix + '/lib'!r}]")
        lines.append(f"runtime_library_dirs = [{found.libxc_prefix + '/lib'!r}]")
    return "\n".join(lines) + "\n"


def build_environment(found: Probes, config: Path, constraints: Path) -> dict[str, str]:
    """Environment variables under which pip builds GPAW.

    A ``GPAW_CONFIG`` of the user's own wins over the one written here. Without MPI the C++ compiler is named
    for C as well, since GPAW passes C++ code to ``CC``.
    """
    environment = {
        **os.environ,
        "GPAW_CONFIG": os.environ.get("GPAW_CONFIG") or str(config),
        # the build's own environment gets the tested NumPy too (new pip reads the second name)
        "PIP_CONSTRAINT": str(constraints),
        "PIP_BUILD_CONSTRAINT": str(constraints),
    }
    if not found.mpi_compiler:
        environment["CC"] = environment["CXX"] = found.compiler
    return environment


def build_wheel(python: Path, requirement: str, folder: Path, constraints: Path) -> str:
    """Puts GPAW's wheel into ``folder``: a ready-made one if pip is offered it (a wheelhouse), or built.

    Args:
        python: the virtual environment's interpreter.
        requirement: as in ``gpaw==26.7.0``.
        folder: where the wheel, and the site config it was built with, go.
        constraints: versions for the build's own environment.

    Returns:
        One line that says what was done.

    Raises:
        subprocess.CalledProcessError: the build failed; its output is on the terminal.
        FileNotFoundError: there is no C++ compiler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pip = [str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    ready = [*pip, "--no-cache-dir", "--only-binary", "gpaw", requirement]
    if subprocess.run(ready, capture_output=True).returncode == 0:
        return f"{requirement}: a ready-made wheel was found"
    compiler = find_compiler()
    if not compiler:
        raise FileNotFoundError("no C++ compiler")
    found = probe(compiler)
    config = folder / "gpaw_siteconfig.py"
    config.write_text(site_config(found))
    # --no-cache-dir: pip would otherwise hand out a wheel built earlier with other libraries
    subprocess.run(
        [*pip, "--no-cache-dir", requirement],
        env=build_environment(found, config.resolve(), constraints.resolve()),
        check=True,
    )
    return f"{requirement}: built with {found.summary()}"
