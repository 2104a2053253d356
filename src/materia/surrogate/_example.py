"""A labelled structure, as the surrogate learns from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal, structure_hash
from materia.data import Value, read_value
from materia.errors import DatasetError
from materia.quantities import Kind, Quantity
from materia.surrogate._layout import Layout, encode


@dataclass(frozen=True)
class Example:
    """One structure with what is known about it.

    Attributes:
        crystal: the structure as it will be met in the pool, that is before relaxation.
        targets: quantity -> value in its unit: a number, 0 or 1 for a class, 3x3 numbers for a tensor, in the frame
            of the crystal's lattice vectors; what is not known is absent.
        group: what must not be split between training and validation: the reduced formula.
    """

    crystal: Crystal
    targets: Mapping[str, Value]
    group: str


def target_matrix(examples: Sequence[Example], quantities: Sequence[Quantity]) -> NDArray[np.float64]:
    """(n, W) columns to learn (``_layout``), extensive quantities per atom, NaN where missing.

    Raises:
        DatasetError: no examples, a label that is not finite or not of its quantity's form, or a target nobody has.
    """
    targets = [q.name for q in quantities]
    if not targets or not examples:
        raise DatasetError(
            f"{len(examples)} examples with {len(targets)} targets: nothing to learn from",
            remedy="give at least one labelled structure and one target",
        )
    layout = Layout(tuple(q.form for q in quantities))
    values = np.full((len(examples), layout.width), np.nan)
    for i, example in enumerate(examples):
        for q, part in zip(quantities, layout.columns, strict=True):
            if q.name in example.targets:
                value = read_value(example.targets[q.name], q.form, f"{example.group}: {q.name}")
                if q.kind is Kind.EXTENSIVE and not isinstance(value, tuple):
                    value /= example.crystal.n_atoms
                values[i, part] = encode(value, q.form)
    for name, part in zip(targets, layout.columns, strict=True):
        if np.isnan(values[:, part]).all():
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
    return hashlib.sha256(json.dumps(rows, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """What NumPy gives, as JSON takes it."""
    return np.asarray(value).tolist()
