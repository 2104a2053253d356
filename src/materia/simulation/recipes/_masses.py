"""Effective masses at the band edges, with spin-orbit coupling: a tensor, or masses by direction where edges meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.simulation._levels import Level
from materia.simulation._quadratic import quadratic_form
from materia.simulation.engines import Engine
from materia.simulation.recipes._beyond import beyond
from materia.simulation.recipes._gap import gap_from_bands, ground_state

HBAR2_OVER_M = 7.6199642  # eV Å², from CODATA 2018: (1.054571817e-34 J s)² / 9.1093837015e-31 kg
STEP = 0.008  # 1/Å: 0.24 meV for a mass of 1. With it cubic crystals have isotropic tensors to 2 in 10,000.
DEGENERATE = 0.01  # eV: pairs closer than that to the edge are part of it
CLOSED = 1e-3  # eV: bands that touch by symmetry leave numerical noise for a gap
NOT_QUADRATIC = 0.15  # of the largest curvature: what may be left by the best tensor
MOVES, ARRIVED, TOO_FAR = 3, 1e-3, 0.1  # Newton's steps towards the extremum, and their size in 1/Å
MAX_SEARCH, NEAR = 12, 0.02  # steps of the search before those, and how near it comes, 1/Å
MAX_PAIRS = 3

# The 13 axes of a cube through faces, edges and corners. With these weights they average polynomials of degree 7 over
# all directions exactly (Lebedev's rule of 26 points: 1/21, 4/105, 9/280 a point).
_AXES = np.array([d for d in product((1, 0, -1), repeat=3) if d > (0, 0, 0)], dtype=float)
_KIND = np.abs(_AXES).sum(axis=1).astype(int)
DIRECTIONS = _AXES / np.sqrt(_KIND)[:, None]
_CUBE_AXES = [int((DIRECTIONS @ axis).argmax()) for axis in np.eye(3)]
WEIGHTS = 2 * np.array([0.0, 1 / 21, 4 / 105, 9 / 280])[_KIND]


@dataclass(frozen=True)
class Edge:
    """A band edge, seen from one k-point.

    Attributes:
        sign: 1 of conduction, -1 of valence: along every direction the energy times it rises.
        kpoint: (3,) Cartesian, 1/Å (2π included).
        gradient: (3,) of the outermost pair, eV Å.
        curvature: (n_pairs, 13) along :data:`DIRECTIONS`, eV Å², times ``sign``; one row for each pair at the edge.
    """

    sign: int
    kpoint: NDArray[np.float64]
    gradient: NDArray[np.float64]
    curvature: NDArray[np.float64]

    @property
    def hessian(self) -> NDArray[np.float64]:
        """(3, 3), eV Å²: the tensor that explains the curvatures of the outermost pair best."""
        return quadratic_form(DIRECTIONS, self.curvature[0])

    @property
    def newton(self) -> NDArray[np.float64] | None:
        """(3,) to the extremum of the parabola, 1/Å: zero where several pairs meet, None where there is none nearby."""
        if len(self.curvature) > 1:
            return np.zeros(3)
        hessian = self.hessian
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            return None
        move = np.asarray(-np.linalg.solve(hessian, self.sign * self.gradient), dtype=np.float64)
        return move if float(np.linalg.norm(move)) < TOO_FAR else None

    @property
    def unexplained(self) -> float:
        """Largest curvature that the tensor leaves, over the largest."""
        explained = np.einsum("di,ij,dj->d", DIRECTIONS, self.hessian, DIRECTIONS)
        return float(np.abs(self.curvature[0] - explained).max() / np.abs(self.curvature[0]).max())


def masses(crystal: Crystal, level: Level, engine: Engine, folder: Path, remedy: str = "") -> dict[str, Any]:
    """Masses of electrons and holes from finite differences around PBE's band edges, with spin-orbit coupling.

    Pairs of states that time reversal joins are averaged. An extremum that grid and path missed is searched for around
    the edge they found, and approached by Newton's steps.

    Returns:
        ``energy_per_atom`` (eV), everything of :func:`gap_from_bands`. Unless the gap is closed, or bands touch,
        ``electron`` and ``hole`` (see :func:`summary`; with ``kpoint``), and where all their curvatures have the sign
        of an edge, ``electron_mass_edge`` and ``hole_mass_edge`` (electron masses).
    """
    energy, atoms, bands = ground_state(crystal, level, engine, folder, remedy)
    found = {"energy_per_atom": energy, **gap_from_bands(bands)}
    if found["gap_pbe"] < CLOSED:
        return found
    to_fractional = np.asarray(atoms.cell.array).T / (2 * np.pi)
    solved: dict[bytes, NDArray[np.float64]] = {}

    def eigenvalues(points: NDArray[np.float64]) -> NDArray[np.float64]:
        name = (points.round(6) + 0.0).tobytes()  # electrons and holes of a direct gap share theirs
        if name not in solved:
            log = folder / f"masses{len(solved)}.txt"
            solved[name] = beyond(engine).spin_orbit(atoms, points @ to_fractional, log)
        return solved[name]

    for carrier, sign, start in (("electron", 1, found["cbm_kpoint"]), ("hole", -1, found["vbm_kpoint"])):
        centre = np.asarray(start) @ np.linalg.inv(to_fractional)
        edge = settled(eigenvalues, centre, 2 * bands.n_occupied, sign, spacing=1 / level.path_density)
        found[carrier] = {**summary(edge), "kpoint": (edge.kpoint @ to_fractional).round(6).tolist()}
        mass = found[carrier]["mass"]
        if mass is not None:
            found[f"{carrier}_mass_edge"] = mass
    return found


def stencil(centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """(53, 3), 1/Å: the point, and around it for each of :data:`DIRECTIONS` those at +1, -1, +2 and -2 steps."""
    around = DIRECTIONS[:, None, :] * np.array([1.0, -1.0, 2.0, -2.0])[None, :, None] * STEP
    return np.vstack([centre[None], centre + around.reshape(-1, 3)])


def edge_at(centre: NDArray[np.float64], eigenvalues: NDArray[np.float64], n_filled: int, sign: int) -> Edge:
    """The band edge from eigenvalues on its stencil.

    Args:
        eigenvalues: (53, n_bands) in rising order, eV; each state singly occupied.
        n_filled: how many are.
        sign: as of :class:`Edge`.
    """
    pairs = _pairs(eigenvalues, n_filled, sign)
    pairs = pairs[:, pairs[0] - pairs[0, 0] < DEGENERATE]
    around, middle = pairs[1:].reshape(len(DIRECTIONS), 4, -1), pairs[0]
    one, minus_one, two, minus_two = (around[:, place] for place in range(4))
    curvature = (16 * (one + minus_one) - (two + minus_two) - 30 * middle) / (12 * STEP**2)
    slope = (8 * (one - minus_one) - (two - minus_two)) / (12 * STEP)
    return Edge(sign, centre, sign * slope[_CUBE_AXES, 0], curvature.T)


def settled(
    eigenvalues: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    start: NDArray[np.float64],
    n_filled: int,
    sign: int,
    spacing: float,
) -> Edge:
    """The edge at the extremum near a point.

    Args:
        eigenvalues: of (n, 3) Cartesian k-points in 1/Å: (n, n_bands), eV.
        start: (3,), 1/Å.
        spacing: of the points among which it was found, 1/Å: the extremum is not farther away than about that.
    """

    def at(centre: NDArray[np.float64]) -> Edge:
        return edge_at(centre, eigenvalues(stencil(centre)), n_filled, sign)

    edge = at(start)
    if (edge.curvature <= 0).any() or edge.newton is None:
        edge = at(_lowest(lambda points: _pairs(eigenvalues(points), n_filled, sign)[:, 0], start, spacing / 2))
    for _ in range(MOVES):
        if edge.newton is None or np.linalg.norm(edge.newton) < ARRIVED:
            break
        edge = at(edge.kpoint + edge.newton)
    return edge


def _lowest(
    energies: Callable[[NDArray[np.float64]], NDArray[np.float64]], centre: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Downhill on a pattern of 26 neighbours that shrinks where none is lower; good to :data:`NEAR`."""
    for _ in range(MAX_SEARCH):
        points = np.vstack([centre[None], centre + radius * DIRECTIONS, centre - radius * DIRECTIONS])
        best = int(energies(points).argmin())
        centre, radius = points[best], radius if best else radius / 2
        if radius < NEAR:
            break
    return centre


def _pairs(eigenvalues: NDArray[np.float64], n_filled: int, sign: int) -> NDArray[np.float64]:
    """(n_k, at most MAX_PAIRS) mean energies of pairs of states from the edge on, times ``sign``, rising."""
    if sign > 0:
        states = eigenvalues[:, n_filled : n_filled + 2 * MAX_PAIRS]
    else:
        states = -eigenvalues[:, max(0, n_filled - 2 * MAX_PAIRS) : n_filled][:, ::-1]
    pairs: NDArray[np.float64] = states[:, : states.shape[1] // 2 * 2].reshape(len(states), -1, 2).mean(axis=2)
    return pairs


def summary(edge: Edge) -> dict[str, Any]:
    """What is kept of an edge.

    Returns:
        ``degeneracy`` (pairs of states at the edge); ``directions`` (13 Cartesian unit vectors) and ``along`` (for each
        pair its 13 masses along them; negative: no extremum that way, None: flat); ``tensor`` (3 x 3, electron masses,
        Cartesian) and ``principal`` (its eigenvalues, rising) of a single quadratic pair, else None; ``mass`` (one
        number for conduction, None where a curvature has the wrong sign).

    ``mass`` is that of conductivity: the inverse mean over all directions of the inverse mass, and of several pairs
    the mean of that weighted by their densities of states, m^1.5.
    """
    inverse = edge.curvature / HBAR2_OVER_M
    single = len(inverse) == 1 and edge.unexplained < NOT_QUADRATIC
    tensor = principal = mass = None
    if (inverse > 0).all():
        each = 1 / (inverse @ WEIGHTS)
        mass = float((each**1.5).sum() / (each**0.5).sum())
        if single and np.linalg.eigvalsh(edge.hessian)[0] > 0:
            tensor = np.linalg.inv(edge.hessian) * HBAR2_OVER_M
            principal = np.linalg.eigvalsh(tensor).tolist()
            mass = float(3 / np.trace(np.linalg.inv(tensor)))
    return {
        "degeneracy": len(inverse),
        "unexplained": edge.unexplained,
        "directions": DIRECTIONS.tolist(),
        "along": [[1 / float(one) if one else None for one in pair] for pair in inverse],
        "tensor": None if tensor is None else tensor.tolist(),
        "principal": principal,
        "mass": mass,
    }
