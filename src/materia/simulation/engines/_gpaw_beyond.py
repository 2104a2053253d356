"""What GPAW does on top of a converged state, without another self-consistency: spin-orbit coupling, HSE06, and the
derivative discontinuity of GLLB-SC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Spin-orbit coupling mixes states: empty ones that take part, and how many of them are converged.
MIXED, CONVERGED = 12, 8
VALENCE = 3  # occupied bands whose order HSE06 may change: the three of a p shell


def spin_orbit(calc: Any, kpoints: NDArray[np.float64], log: Path) -> NDArray[np.float64]:
    """Eigenvalues of the scalar-relativistic Hamiltonian and the coupling, in the basis of its own lowest states."""
    from gpaw.spinorbit import soc_eigenstates

    fixed = _at(calc, kpoints, log, MIXED, CONVERGED)
    eigenvalues: NDArray[np.float64] = soc_eigenstates(fixed).eigenvalues()
    return eigenvalues


def hybrid(calc: Any, kpoints: NDArray[np.float64], log: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PBE and HSE06 eigenvalues; the exchange with all occupied states of the self-consistent grid."""
    from gpaw.new.pw.nschse import NonSelfConsistentHybridXCCalculator

    n_occupied = _occupied(calc)
    fixed = _at(calc, kpoints, log, 4, 1)
    exchange = NonSelfConsistentHybridXCCalculator.from_dft_calculation(calc.dft, "HSE06", log=str(log) + ".hse")
    first = max(0, n_occupied - VALENCE)
    pbe, hse = exchange.calculate(fixed.dft.ibzwfs, first, n_occupied + 1)
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
