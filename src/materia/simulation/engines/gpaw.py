"""GPAW in plane-wave mode (Enkovaara et al., J. Phys.: Condens. Matter 22, 253202 (2010))."""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.resources import resource
from materia.simulation._failures import Failure, Reason, ordinary_failure
from materia.simulation._kpoints import grid_size, irreducible_kpoints
from materia.simulation._levels import Level
from materia.simulation._ranks import ALONE, RANKS, World, layout, ranks_wanted
from materia.simulation.engines import _gpaw_beyond
from materia.simulation.engines._protocol import Bands, Capabilities

if TYPE_CHECKING:
    from ase import Atoms

MIXING = "steadier density mixing"
EMPTY = 4  # bands above the occupied ones where GPAW's own choice leaves none
NO_SYMMETRY = "k-points not reduced by the point group"
REBUILD = "load the modules it was built with, or build it again: make gpaw"
LIBXC = "GPAW was built without libxc: install libxc's headers and build it again, `make gpaw` (docs/installation.md)"
OF_LIBXC = ("hybrid", "hybrid_spin_orbit", "gllbsc")
INSTALL = "install materia's extra: pip install 'materia[gpaw]' (docs/installation.md says how to build GPAW)"


@cache
def _setup_folders() -> tuple[Path, ...]:
    """Where PAW datasets are looked for: the user's, those that ship with materia (data/paw), gpaw-data's."""
    folders = [Path(p) for p in os.environ.get("GPAW_SETUP_PATH", "").split(os.pathsep) if p]
    folders.append(resource("data/paw"))
    spec = find_spec("gpaw_data")
    if spec is not None:
        folders += [Path(p) / "setups" for p in spec.submodule_search_locations or []]
    return tuple(folders)


@cache
def _setup_file(element: str, xc: str) -> Path | None:
    """The PAW dataset file that GPAW takes, found without importing GPAW."""
    for folder in _setup_folders():
        for suffix in (".gz", ""):  # of two in one folder GPAW takes the packed one
            path = folder / f"{element}.{xc}{suffix}"
            if path.is_file():
                return path
    return None


def _search_the_same_folders() -> None:
    """Makes GPAW look in these folders and no others: what it loads is then what the job's key has the digest of."""
    import gpaw

    gpaw.setup_paths[:] = [glob.escape(str(folder)) for folder in _setup_folders()]  # it globs in them


@cache
def _setup(element: str, xc: str) -> tuple[str, int]:
    """(SHA-256 of the unpacked PAW dataset, first 12 hex digits; its valence electrons)."""
    data, path = _setup_data(element, xc)
    match = re.search(rb'<atom[^>]*valence="([\d.]+)"', data)
    if match is None:
        raise EngineError(f"the PAW dataset of {element} names no valence electrons", where=path)
    return hashlib.sha256(data).hexdigest()[:12], round(float(match[1]))


@cache
def _bound_states(element: str, xc: str) -> int:
    """Orbitals of the bound states of its PAW dataset: GPAW takes no more bands than these by itself."""
    data, _ = _setup_data(element, xc)
    return sum(2 * int(momentum) + 1 for momentum in re.findall(rb'<state\s+n="\d+"\s+l="(\d)"', data))


@cache
def setup_fingerprint(element: str, xc: str) -> str:
    """What GPAW's logs call the ``id`` of a PAW dataset: the MD5 of the unpacked file.

    Raises:
        EngineError: there is no such dataset here.
    """
    return hashlib.md5(_setup_data(element, xc)[0], usedforsecurity=False).hexdigest()


def _setup_data(element: str, xc: str) -> tuple[bytes, Path]:
    """The unpacked PAW dataset, and its file."""
    path = _setup_file(element, xc)
    if path is None:
        raise EngineError(
            f"GPAW has no {xc} PAW dataset for {element}",
            remedy="leave the element out of the space, or add the dataset to GPAW_SETUP_PATH",
        )
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes(), path


def _own_bands(crystal: Crystal, level: Level) -> int:
    """Bands that GPAW takes by itself at most."""
    return sum(n * _bound_states(element, level.xc) for element, n in crystal.composition.items())


class GPAWEngine:
    """Runs in the job's own process; the driver asks only for capabilities, digests and electron counts."""

    name = "gpaw"
    electrons = True
    own_ranks = False

    def capabilities(self, level: Level | None = None) -> Capabilities:
        try:
            found = version("gpaw")
        except PackageNotFoundError:
            return Capabilities(False, missing="GPAW is not installed", remedy=INSTALL)
        if _setup_file("Si", "PBE") is None:
            return Capabilities(
                False, found, missing="GPAW's PAW datasets are not installed", remedy="pip install gpaw-data"
            )
        try:
            libraries = _libraries()
        except ImportError as error:  # a library it was linked with is not there when it runs
            return Capabilities(False, found, missing=f"GPAW does not load: {error}", remedy=REBUILD)
        features = {name: bool(value) for name, value in libraries.items()}
        beyond = {"spin_orbit": True, "screening": True, **dict.fromkeys(OF_LIBXC, features.get("libxc", False))}
        return Capabilities(True, found, {**features, **beyond}, remedies=dict.fromkeys(OF_LIBXC, LIBXC))

    def world(self) -> World:
        wanted = ranks_wanted()
        if wanted == 1:
            return ALONE
        try:
            import gpaw

            # Plain python leaves it empty, which would be serial; GPAW reads it once, with gpaw.mpi.
            gpaw.GPAW_MPI_BACKEND = gpaw.GPAW_MPI_BACKEND or "cgpaw"
            from gpaw.mpi import world
        except (ImportError, ValueError, RuntimeError) as error:
            raise Failure(Reason.ENGINE_MISSING, f"GPAW cannot use MPI: {str(error).strip()}; {REBUILD}") from error
        if world.size != wanted:
            raise Failure(
                Reason.ENGINE_MISSING,
                f"{wanted} ranks were started ({RANKS}), but MPI connects {world.size}: the launcher does not speak "
                "the process management (PMI) of GPAW's MPI; see mpi.launch of the site profile",
            )
        found: World = world
        return found

    def pseudopotentials(self, elements: Sequence[str], level: Level) -> dict[str, str]:
        return {element: _setup(element, level.xc)[0] for element in sorted(set(elements))}

    def n_electrons(self, crystal: Crystal, level: Level) -> int:
        return sum(n * _setup(element, level.xc)[1] for element, n in crystal.composition.items())

    def choices(self, crystal: Crystal, level: Level) -> dict[str, Any]:
        return {}

    def calculator(self, crystal: Crystal, level: Level, log: Path, *, remedy: str = "", **overrides: Any) -> Any:
        from gpaw import GPAW, PW, FermiDirac, Mixer

        _search_the_same_folders()
        settings: dict[str, Any] = {
            "mode": PW(level.cutoff_ev),
            "xc": level.xc,
            "kpts": {"size": grid_size(crystal, level.kpoint_density), "gamma": True},
            "occupations": FermiDirac(level.smearing_ev),
            "spinpol": False,
            "txt": str(log),
        }
        if 2 * _own_bands(crystal, level) <= (electrons := self.n_electrons(crystal, level)):
            settings["nbands"] = electrons // 2 + EMPTY  # fcc calcium: all would be full, and it is a metal
        if remedy == MIXING:
            settings |= {"mixer": Mixer(0.02, 5, 100.0), "maxiter": 1000}
        if remedy == NO_SYMMETRY:
            settings |= {"symmetry": {"point_group": False}}
        settings |= overrides
        ranks = self.world().size
        if ranks > 1:
            gamma = set(settings["kpts"]["size"]) == {1}
            groups = layout(1 if gamma else irreducible_kpoints(crystal, level.kpoint_density), ranks)
            # Plane waves ("domain"), not bands: with those, energies of silicon came out the same to 1e-12 eV, with
            # bands shared out to 1e-6 eV only.
            settings["parallel"] = {"kpt": groups.kpoints, "band": 1, "domain": groups.shares}
        return GPAW(**settings)

    def bands(self, atoms: Atoms, level: Level, log: Path) -> Bands:
        calc = atoms.calc
        n_occupied = round(calc.get_number_of_electrons()) // 2
        kpoints = np.asarray(calc.get_ibz_k_points())
        grid = np.array([calc.get_eigenvalues(kpt=k)[: n_occupied + 1] for k in range(len(kpoints))])
        path = atoms.cell.bandpath(density=level.path_density)
        # laid out like the grid: on a short path the last point is computed by several groups of ranks
        n_path = len(path.kpts)
        short = max(0, self.world().size - n_path)
        along = calc.fixed_density(
            kpts=np.vstack([path.kpts, *[path.kpts[-1:]] * short]) if short else path,
            symmetry="off",
            nbands=n_occupied + 4,
            convergence={"bands": n_occupied + 1},
            txt=str(log),
        )
        eigenvalues = np.array([along.get_eigenvalues(kpt=k)[: n_occupied + 1] for k in range(n_path)])
        return Bands(n_occupied, kpoints, grid, np.asarray(path.kpts), eigenvalues)

    def spin_orbit(self, atoms: Atoms, kpoints: NDArray[np.float64], log: Path) -> NDArray[np.float64]:
        return _gpaw_beyond.spin_orbit(atoms.calc, kpoints, log)

    def hybrid(
        self, atoms: Atoms, kpoints: NDArray[np.float64], log: Path
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return _gpaw_beyond.hybrid(atoms.calc, kpoints, log)

    def hybrid_spin_orbit(
        self, atoms: Atoms, kpoints: NDArray[np.float64], log: Path
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return _gpaw_beyond.hybrid_spin_orbit(atoms.calc, kpoints, log)

    def gllbsc(self, atoms: Atoms, kpoints: NDArray[np.float64], edges: tuple[float, float], log: Path) -> float:
        return _gpaw_beyond.discontinuity(atoms.calc, kpoints, edges, log)

    def screening(
        self, atoms: Atoms, kpoints: NDArray[np.float64], cutoff_ev: float, n_empty: int, log: Path
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return _gpaw_beyond.screening(atoms.calc, kpoints, cutoff_ev, n_empty, log)

    def classify(self, error: BaseException) -> Failure:
        from gpaw import ConvergenceError

        text = f"{type(error).__name__}: {error}".strip(": ")
        if isinstance(error, ConvergenceError):
            return Failure(Reason.NOT_CONVERGED, "the self-consistency did not converge")
        if type(error).__name__ in {"SymmetryAnalysisBug", "SymmetryBrokenError"}:
            return Failure(Reason.SYMMETRY_LOST, "the point group of the cell could not be used")
        if isinstance(error, np.linalg.LinAlgError):
            return Failure(Reason.ATOMS_OVERLAP, f"the Hamiltonian cannot be diagonalised ({text})")
        if isinstance(error, FileNotFoundError):
            return Failure(Reason.MISSING_PSEUDOPOTENTIAL, text)
        return ordinary_failure(error)

    def remedy(self, reason: Reason) -> str | None:
        return {Reason.NOT_CONVERGED: MIXING, Reason.SYMMETRY_LOST: NO_SYMMETRY}.get(reason)

    def versions(self) -> dict[str, str]:
        names = ("gpaw", "gpaw-data", "ase", "numpy", "scipy")
        return {name: version(name) for name in names} | {"libxc": _libraries().get("libxc") or "none (built-in PBE)"}


@cache
def _libraries() -> dict[str, str]:
    """Optional libraries GPAW was built with: name -> version or "" where it does without."""
    import gpaw

    found = {name: str(value or "") for name, value in gpaw.get_libraries().items()}
    return {
        "libxc": found.get("libxc", ""),
        "mpi": "yes" if gpaw.cgpaw.have_mpi else "",
        "scalapack": "yes" if hasattr(gpaw.cgpaw, "new_blacs_context") else "",
    }
