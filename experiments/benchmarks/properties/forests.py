"""What is to be beaten without a network: extremely randomised trees on composition, and on composition and cell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from materia.crystal import Crystal, prototype_label
from materia.search import cell_features, composition_features
from materia.surrogate import GraphStore

TREES, MAX_FEATURES = 300, 0.4
SEEN = 6.0  # Å: neighbours up to here
SHELL = 1.2  # times the nearest distance: what counts as coordination


def fractions(crystals: Sequence[Crystal]) -> np.ndarray:
    """(n, 100) share of each element."""
    found = np.zeros((len(crystals), 100), dtype=np.float32)
    for i, crystal in enumerate(crystals):
        numbers, counts = np.unique(crystal.numbers, return_counts=True)
        found[i, numbers - 1] = counts / counts.sum()
    return found


def bonds(crystals: Sequence[Crystal]) -> np.ndarray:
    """(n, 8) of the atoms' nearest distances (Å; mean, least), of these over the sum of the atomic radii (mean, least,
    spread) and of the coordination numbers (mean, least, greatest)."""
    from pymatgen.core import Element

    radii = np.array([np.nan] + [float(Element.from_Z(z).atomic_radius or np.nan) for z in range(1, 101)])
    radii = np.where(np.isnan(radii), np.nanmean(radii), radii)
    found = np.zeros((len(crystals), 8), dtype=np.float32)
    for i, crystal in enumerate(crystals):
        graph = GraphStore.build([crystal], SEEN)
        distance = graph.vectors.norm(dim=1).numpy()
        centre = np.repeat(np.arange(crystal.n_atoms), graph.degree.numpy())
        relative = distance / (radii[crystal.numbers[centre]] + radii[crystal.numbers[graph.neighbour.numpy()]])
        nearest, bond = np.full(crystal.n_atoms, SEEN), np.full(crystal.n_atoms, 3.0)
        np.minimum.at(nearest, centre, distance)
        np.minimum.at(bond, centre, relative)
        shell = np.bincount(centre[distance < SHELL * nearest[centre]], minlength=crystal.n_atoms)
        found[i] = [
            *(nearest.mean(), nearest.min()),
            *(bond.mean(), bond.min(), bond.std()),
            *(shell.mean(), shell.min(), shell.max()),
        ]
    return found


def features(crystals: Sequence[Crystal], cell: bool) -> np.ndarray:
    """(n, 190): statistics of tabulated element features, and the shares of the elements; with ``cell`` (n, 201): also
    volume per atom, number of atoms, space group and :func:`bonds`."""
    composition = np.hstack([composition_features(crystals), fractions(crystals)])
    if not cell:
        return composition
    groups = np.array([int(prototype_label(c).split("_")[1]) for c in crystals])
    return np.hstack([composition, cell_features(crystals, groups), bonds(crystals)])


def forests(
    train: tuple[Sequence[Crystal], np.ndarray], test: Sequence[Crystal], trees: int = TREES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """``composition`` and ``composition+cell``: predictions (n_test, T) of one forest for each target, CPU seconds."""
    from sklearn.ensemble import ExtraTreesRegressor

    crystals, labels = train
    found: dict[str, dict[str, Any]] = {}
    for name in ("composition", "composition+cell"):
        started = time.process_time()
        known, asked = (features(some, "cell" in name) for some in (crystals, test))
        columns = []
        for j in range(labels.shape[1]):
            rows = ~np.isnan(labels[:, j])
            forest = ExtraTreesRegressor(trees, max_features=MAX_FEATURES, random_state=seed, n_jobs=1)
            columns.append(forest.fit(known[rows], labels[rows, j]).predict(asked))
        found[name] = {"predicted": np.column_stack(columns), "cpu_s": time.process_time() - started}
    return found
