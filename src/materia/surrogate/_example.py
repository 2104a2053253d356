"""A labelled structure, as the surrogate learns from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, structure_hash
from materia.errors import DatasetError
from materia.quantities import Kind, Quantity


@dataclass(frozen=True)
class Example:
    """One structure with what is known about it.

    Attributes:
        crystal: the structure as it will be met in the pool, that is before relaxation.
        targets: quantity -> value in its unit; what is not known is absent.
        group: what must not be split between training and validation: the reduced formula.
    """

    crystal: Crystal
    targets: Mapping[str, float]
    group: str


def target_matrix(examples: Sequence[Example], quantities: Sequence[Quantity]) -> NDArray[np.float64]:
    """(n, t) labels in their units, extensive ones per atom, NaN where missing.

    Raises:
        DatasetError: no examples, a label that is not finite, or a target nobody has.
    """
    targets = [q.name for q in quantities]
    if not targets or not examples:
        raise DatasetError(
            f"{len(examples)} examples with {len(targets)} targets: nothing to learn from",
            remedy="give at least one labelled structure and one target",
        )
    values = np.full((len(examples), len(targets)), np.nan)
    for i, example in enumerate(examples):
        for j, name in enumerate(targets):
            if name in example.targets:
                values[i, j] = example.targets[name]
                if not np.isfinite(values[i, j]):
                    raise DatasetError(f"{example.group}: {name} is {values[i, j]}, not a finite number")
                if quantities[j].kind is Kind.EXTENSIVE:
                    values[i, j] /= example.crystal.n_atoms
    for j, name in enumerate(targets):
        if np.isnan(values[:, j]).all():
            raise DatasetError(
                f"none of the {len(examples)} examples has a label for {name!r}",
                remedy="leave the target out or add labels",
            )
    return values


def data_digest(examples: Sequence[Example], targets: Sequence[str]) -> str:
    """SHA-256 of structures, groups and the labels of ``targets``, in the order given."""
    rows = [
        [structure_hash(e.crystal), e.group, {q: e.targets[q] for q in sorted(targets) if q in e.targets}]
        for e in examples
    ]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
