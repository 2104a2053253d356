"""What an engine must offer. Implementations are found by entry point ``materia.engines``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.plugins import installed

if TYPE_CHECKING:
    from ase import Atoms

    from materia.simulation._failures import Failure, Reason
    from materia.simulation._levels import Level
    from materia.simulation._ranks import World


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do on this machine.

    Attributes:
        available: whether it can run at all.
        version: its version, or "".
        features: optional parts by name (``{"libxc": False, "mpi": False}``). ``mpi``: several ranks can compute one
            job, each its k-points; ``scalapack`` or ``planewaves``: those of one k-point can share out its plane waves;
            ``spin_orbit``, ``hybrid``, ``hybrid_spin_orbit``, ``gllbsc``, ``screening``: the methods of
            :class:`BeyondPBE` of those names.
        missing: why it is not available, in words.
        remedy: what to install.
        remedies: what would bring a feature that is not there, where that is known.
    """

    available: bool
    version: str = ""
    features: Mapping[str, bool] = field(default_factory=dict)
    missing: str = ""
    remedy: str = ""
    remedies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bands:
    """Eigenvalues of a converged closed-shell state.

    Attributes:
        n_occupied: doubly occupied bands (electrons / 2).
        grid_kpoints, path_kpoints: (n_k, 3) fractional reciprocal coordinates.
        grid, path: (n_k, n_bands >= n_occupied + 1) eigenvalues, eV.
    """

    n_occupied: int
    grid_kpoints: NDArray[np.float64]
    grid: NDArray[np.float64]
    path_kpoints: NDArray[np.float64]
    path: NDArray[np.float64]


class Engine(Protocol):
    """A program that gives energies, forces, stresses and bands of a crystal.

    Attributes:
        name: as in a level.
        electrons: whether it solves for electrons. One that does not (an interatomic potential) has no bands, counts 0
            electrons, and where it must name pseudopotentials it names what it computes the element with.
        own_ranks: whether several ranks are those of another program, which the engine starts itself from a single
            Python process (``materia.simulation._ranks.launcher_words``); else Python itself runs on every rank.
    """

    name: str
    electrons: bool
    own_ranks: bool

    def capabilities(self, level: Level | None = None) -> Capabilities:
        """What it can do here; never raises. With a level: what that one needs of it is there as well."""
        ...

    def world(self) -> World:
        """The ranks that compute this job together, as many as ``MATERIA_RANKS`` says. Asked for before anything else.

        Raises:
            Failure: they do not find each other, or the engine has no MPI.
        """
        ...

    def pseudopotentials(self, elements: Sequence[str], level: Level) -> dict[str, str]:
        """Digest of the pseudopotential (or PAW set) of each element.

        Raises:
            EngineError: there is none for an element.
        """
        ...

    def n_electrons(self, crystal: Crystal, level: Level) -> int:
        """Valence electrons in the cell with this engine's pseudopotentials."""
        ...

    def choices(self, crystal: Crystal, level: Level) -> dict[str, Any]:
        """What the engine settles by a rule of its own, for the record, as JSON; ``{}`` where the level says it all."""
        ...

    def calculator(self, crystal: Crystal, level: Level, log: Path, *, remedy: str = "", **overrides: Any) -> Any:
        """An ASE calculator at that level; ``remedy`` is "" or what :meth:`remedy` named."""
        ...

    def bands(self, atoms: Atoms, level: Level, log: Path) -> Bands:
        """Eigenvalues on the self-consistent grid and along the band path of a converged state.

        Raises:
            Failure: the engine has no electrons.
        """
        ...

    def classify(self, error: BaseException) -> Failure:
        """The typed failure behind an exception of this engine."""
        ...

    def remedy(self, reason: Reason) -> str | None:
        """What to try once against a failure, without touching the level of theory; ``None``: nothing."""
        ...

    def versions(self) -> dict[str, str]:
        """Versions of everything that computed."""
        ...


@runtime_checkable
class BeyondPBE(Protocol):
    """What an engine may offer on top of :class:`Engine`, each method under a feature of :class:`Capabilities`.

    All start from a converged closed-shell state (``atoms.calc``) and leave its density as it is. K-points are (n_k, 3)
    fractional reciprocal coordinates, at least two different ones; energies are eV.
    """

    def spin_orbit(self, atoms: Atoms, kpoints: NDArray[np.float64], log: Path) -> NDArray[np.float64]:
        """(n_k, n_bands) eigenvalues in rising order with spin-orbit coupling, each singly occupied: the lowest
        ``n_electrons`` are filled. At least six of the empty ones are meant to be used."""
        ...

    def hybrid(
        self, atoms: Atoms, kpoints: NDArray[np.float64], log: Path
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n_k, n) eigenvalues of the state's own functional, and those of HSE06 in its orbitals, of the same bands:
        up to three highest occupied and the lowest empty one."""
        ...

    def hybrid_spin_orbit(
        self, atoms: Atoms, kpoints: NDArray[np.float64], log: Path
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """What :meth:`hybrid` gives, and (n_k, n_bands) eigenvalues of HSE06 with spin-orbit coupling, singly occupied
        and in rising order as those of :meth:`spin_orbit`."""
        ...

    def gllbsc(self, atoms: Atoms, kpoints: NDArray[np.float64], edges: tuple[float, float], log: Path) -> float:
        """Derivative discontinuity of a GLLB-SC state with these band edges (valence, conduction), to be added to the
        difference of its eigenvalues; the conduction edge lies at one of the k-points."""
        ...

    def screening(
        self, atoms: Atoms, kpoints: NDArray[np.float64], cutoff_ev: float, n_empty: int, log: Path
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two (3, 3) dielectric tensors of the electrons of an insulator in the random-phase approximation, without
        and with local fields, from so many empty bands and plane waves up to that kinetic energy. The k-points are as
        symmetric as the crystal."""
        ...


@dataclass(frozen=True)
class Response:
    """How a crystal of n atoms answers a homogeneous field and the displacement of its atoms, in fixed Cartesian axes.

    Attributes:
        electronic: (3, 3) dielectric tensor with the atoms held.
        charges: (n, 3, 3) Born effective charges, e: atom, field, displacement. They may not quite add up to zero.
        force_constants: (3n, 3n) at the zone centre without a macroscopic field, eV/Å²; likewise.
    """

    electronic: NDArray[np.float64]
    charges: NDArray[np.float64]
    force_constants: NDArray[np.float64]


@runtime_checkable
class Responds(Protocol):
    """What an engine with the feature ``dielectric`` of :class:`Capabilities` offers on top of :class:`Engine`."""

    def response(self, atoms: Atoms, log: Path) -> Response:
        """By perturbation theory, of an insulator whose calculator (``atoms.calc``) has fixed occupations.

        Raises:
            Failure: it did not converge.
        """
        ...


GROUP = "materia.engines"


def engine(name: str) -> Engine:
    """The installed engine of that name.

    Raises:
        EngineError: no installed package offers one under that name.
    """
    found = installed(GROUP)
    if name not in found:
        raise EngineError(f"no engine is called {name!r}", remedy=f"installed engines: {', '.join(found) or 'none'}")
    made: Engine = found[name].load()()
    return made
