"""Crystals of several symmetries, and a cheap synthetic property to learn."""

from __future__ import annotations

import pytest

from materia.crystal import Crystal
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.surrogate import Example, SurrogateSettings
from surrogate_factory import perovskite, rocksalt, triclinic, wurtzite, zincblende


@pytest.fixture(scope="session")
def crystals() -> list[Crystal]:
    return [
        zincblende("Ga", "As", 5.65),
        rocksalt("Na", "Cl", 5.64),
        perovskite("Sr", "Ti", "O", 3.905),
        wurtzite("Zn", "O", 3.25),
        triclinic(),
    ]


@pytest.fixture(scope="session")
def small() -> SurrogateSettings:
    """A network that trains in a second."""
    return SurrogateSettings(
        channels=8, layers=2, cutoff=4.5, members=2, replicas=2, epochs=3, batch_size=8, pretrained=None
    )


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Binary compounds with a made-up gap (ionicity and size) and formation energy; some labels missing."""
    from materia.crystal import electronegativity

    cations = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Ga"]
    anions = ["N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te"]
    rows = []
    for i, cation in enumerate(cations):
        for j, anion in enumerate(anions):
            build = (zincblende, rocksalt)[(i + j) % 2]
            crystal = build(cation, anion, 4.4 + 0.12 * i + 0.1 * j)
            ionic = electronegativity(anion) - electronegativity(cation)
            targets = {FORMATION_ENERGY: -ionic - 0.3 * ((i + j) % 2)}
            if (i + 3 * j) % 4:
                targets[GAP_PBE] = max(0.0, 2.0 * ionic - 1.5 + 0.2 * (i - j))
            rows.append(Example(crystal, targets, crystal.formula))
    return rows
