"""What GPAW does on top of a converged state, without another self-consistency: spin-orbit coupling, HSE06, both
together, the derivative discontinuity of GLLB-SC, and the dielectric tensor of the electrons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.simulation._quadratic import quadratic_form

# Spin-orbit coupling mixes states: empty ones that take part, and how many of them are converged.
MIXED, CONVERGED = 12, 8
VALENCE = 3  # occupied bands whose order HSE06 may change: the three of a p shell
CONDUCTION = 3  # empty ones that take part in the coupling at their own HSE06 energies: likewise
# Directions of the field: what is measured along them fixes a symmetric tensor.
FIELDS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=float)


def spin_orbit(calc: Any, kpoints: NDArray[np.float64], log: Path) -> NDArray[np.float64]:
    """Eigenvalues of the scalar-relativistic Hamiltonian and the coupling, in the basis of its own lowest states."""
    from gpaw.spinorbit import soc_eigenstates

    fixed = _at(calc, kpoints, log, MIXED, CONVERGED)
    eigenvalues: NDArray[np.float64] = soc_eigenstates(fixed).eigenvalues()
    return eigenvalues


def hybrid(calc: Any, kpoints: NDArray[np.float64], log: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PBE and HSE06 eigenvalues; the exchange with all occupied states of the self-consistent grid."""
    return _hse06(calc, _at(calc, kpoints, log, 4, 1), 1, log)


def hybrid_spin_orbit(
    calc: Any, kpoints: NDArray[np.float64], log: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """As :func:`hybrid`, and the eigenvalues of HSE06 and the coupling, in the basis of PBE's lowest states.

    A band whose HSE06 eigenvalue is not computed is shifted like the nearest one, by number, that is.
    """
    from gpaw.spinorbit import soc_eigenstates

    n_occupied = _occupied(calc)
    fixed = _at(calc, kpoints, log, MIXED, CONVERGED)
    pbe, hse = _hse06(calc, fixed, CONDUCTION, log)
    every = np.array([fixed.get_eigenvalues(kpt=k) for k in range(len(kpoints))])
    first = max(0, n_occupied - VALENCE)
    nearest = np.clip(np.arange(every.shape[1]) - first, 0, pbe.shape[1] - 1)
    # in the order of the states, not of these eigenvalues: each goes with its own projections; eigh sorts
    shifted = every + (hse - pbe)[:, nearest]
    spinors: NDArray[np.float64] = soc_eigenstates(fixed, eigenvalues=shifted[np.newaxis]).eigenvalues()
    lowest = n_occupied - first + 1
    return pbe[:, :lowest], hse[:, :lowest], spinors


def _hse06(calc: Any, fixed: Any, n_empty: int, log: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PBE and HSE06 eigenvalues of the highest occupied bands and so many of the lowest empty ones, at the k-points of
    ``fixed``."""
    from gpaw.new.pw.nschse import NonSelfConsistentHybridXCCalculator

    n_occupied = _occupied(calc)
    exchange = NonSelfConsistentHybridXCCalculator.from_dft_calculation(calc.dft, "HSE06", log=str(log) + ".hse")
    pbe, hse = exchange.calculate(fixed.dft.ibzwfs, max(0, n_occupied - VALENCE), n_occupied + n_empty)
    return pbe[0], hse[0]


def discontinuity(calc: Any, kpoints: NDArray[np.float64], edges: tuple[float, float], log: Path) -> float:
    """Kuisma et al., Phys. Rev. B 82, 115106 (2010), eqs. 24 and 25."""
    from ase.units import Ha

    potential = calc.hamiltonian.xc.response.calculate_discontinuity_potential(*edges)
    fixed = _at(calc, kpoints, log, 4, 1)
    # The first empty band is found from the Fermi level, which smearing can put into a light conduction band.
    fixed.wfs.fermi_levels = np.array([sum(edges) / 2 / Ha])
    return float(fixed.hamiltonian.xc.response.calculate_discontinuity(potential)[1])


def screening(
    calc: Any, kpoints: NDArray[np.float64], cutoff_ev: float, n_empty: int, log: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The static, macroscopic dielectric tensor of the random-phase approximation, without and with local fields.

    Yan et al., Phys. Rev. B 83, 245122 (2011). Along a direction of the field it is one number, n·εn.
    """
    from gpaw import FermiDirac
    from gpaw.response.df import DielectricFunction

    n_bands = _occupied(calc) + n_empty
    fixed = calc.fixed_density(
        kpts=kpoints,
        nbands=n_bands + max(4, n_empty // 10),  # the highest ones converge slowly
        convergence={"bands": n_bands},
        occupations=FermiDirac(1e-3),  # eV: transitions from full bands to empty ones, nothing in between
        txt=str(log),
    )
    response = DielectricFunction(
        fixed,
        frequencies=np.array([0.0]),
        hilbert=False,
        eta=1e-4,
        nbands=n_bands,
        ecut=cutoff_ev,
        intraband=False,
        txt=str(log) + ".chi",
    )
    fields = FIELDS / np.linalg.norm(FIELDS, axis=1)[:, None]
    along = np.array([response.get_macroscopic_dielectric_constant(direction=list(field)) for field in fields])
    without, screened = along.real.T
    return quadratic_form(fields, without), quadratic_form(fields, screened)


def _occupied(calc: Any) -> int:
    n_occupied: int = round(calc.get_number_of_electrons()) // 2
    return n_occupied


def _at(calc: Any, kpoints: NDArray[np.float64], log: Path, empty: int, converged: int) -> Any:
    """The state's bands at chosen k-points, in its density."""
    n_occupied = _occupied(calc)
    return calc.fixed_density(
        kpts=kpoints,
        symmetry="off",
        nbands=n_occupied + empty,
        convergence={"bands": n_occupied + converged},
        txt=str(log),
    )
