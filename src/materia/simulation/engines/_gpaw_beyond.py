"""What GPAW does on top of a converged state, without another self-consistency: spin-orbit coupling, HSE06, both
together, and the derivative discontinuity of GLLB-SC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Spin-orbit coupling mixes states: empty ones that take part, and how many of them are converged.
MIXED, CONVERGED = 12, 8
VALENCE = 3  # occupied bands whose order HSE06 may change: the three of a p shell
CONDUCTION = 3  # empty ones that take part in the coupling at their own HSE06 energies: likewise


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
