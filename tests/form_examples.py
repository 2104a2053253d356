"""Compounds strained along one axis, labelled with a made-up property of every form."""

from __future__ import annotations

import numpy as np

from materia.crystal import Crystal, electronegativity
from materia.quantities import Quantity, declare
from materia.surrogate import Example, SurrogateSettings
from surrogate_factory import rocksalt, zincblende

SIZE = declare("size", unit="Å3", kind="extensive", lower=0.0)
HARDNESS = declare("hardness", unit="GPa", form="log")
MOBILE = declare("mobile", unit="m2", kind="extensive", form="log")
POLAR = declare("polar", unit="1", form="class")
EPSILON = declare("epsilon", unit="1", form="tensor")
ALL: tuple[Quantity, ...] = (SIZE, HARDNESS, MOBILE, POLAR, EPSILON)


def strained(crystal: Crystal, axis: int, by: float) -> Crystal:
    strain = np.ones(3)
    strain[axis] += by
    return Crystal(crystal.lattice * strain, crystal.numbers, crystal.frac_coords)


def epsilon(ionic: float, axis: int, by: float) -> tuple[tuple[float, ...], ...]:
    """Larger along the strained axis, and for less ionic compounds."""
    values = np.full(3, 12 * np.exp(-0.8 * ionic))
    values[axis] *= np.exp(6 * by)
    return tuple(tuple(row) for row in np.diag(values).tolist())


def examples(axes: tuple[int, ...] = (0, 1, 2)) -> list[Example]:
    """Each label is missing in some of them."""
    rows = []
    for i, cation in enumerate(["Li", "Na", "K", "Mg", "Ca", "Zn", "Cd", "Ga"]):
        for j, anion in enumerate(["O", "F", "S", "Cl", "Se", "Br"]):
            n = 6 * i + j
            axis, by = axes[n % len(axes)], 0.06 * ((n * 7) % 5 - 2)
            build = (zincblende, rocksalt)[(i + j) % 2]
            crystal = strained(build(cation, anion, 4.4 + 0.12 * i + 0.1 * j), axis, by)
            ionic = electronegativity(anion) - electronegativity(cation)
            labels = {
                SIZE.name: crystal.volume,
                HARDNESS.name: 10.0 ** (2 * ionic - 2),
                MOBILE.name: crystal.n_atoms * 10.0**-ionic,
                POLAR.name: float(ionic > 1.7),
                EPSILON.name: epsilon(ionic, axis, by),
            }
            known = {name: value for k, (name, value) in enumerate(labels.items()) if (n + k) % 6}
            rows.append(Example(crystal, known, crystal.formula))
    return rows


SETTINGS = SurrogateSettings(
    channels=16, layers=2, cutoff=4.5, members=2, replicas=2, epochs=25, batch_size=8, pretrained=None,
    learning_rate=8e-3, device="cpu", folds=4, strain=0.0, rattle=0.0,
)  # fmt: skip
