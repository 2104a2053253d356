"""A pool whose answers are known: structures as they stand before a calculation, and what it would give."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from materia import quantities as q
from materia.crystal import Crystal, prototype_label, structure_hash, touching_volume
from materia.data import Dataset
from materia.errors import DatasetError, ElementError
from materia.resources import resource
from materia.search._conditions import Conditions
from materia.search._features import cell_features, composition_features
from materia.search._gauss import Floats
from materia.search.replay._settings import DataSettings
from materia.stability import ExpectedHull, Hull, HullEntry
from materia.sustainability import supply_risk

Columns = dict[str, tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class KnownPool:
    """n candidates with known answers.

    Attributes:
        ids: of the candidates.
        crystals: as known before the calculation.
        prototypes: structure types (anonymous formula and space group, or the dataset's name of it).
        spacegroups: (n,) international numbers.
        values: quantity -> (n,) what the calculation would give.
        exact: quantities of ``values`` that are known without a calculation.
        own_hull: distances to the hull are predicted as a campaign does it, from formation energies and the hull of
            the phases labelled so far; otherwise they are learned as they stand.
    """

    ids: tuple[str, ...]
    crystals: tuple[Crystal, ...]
    prototypes: tuple[str, ...]
    spacegroups: np.ndarray
    values: Mapping[str, Floats]
    exact: frozenset[str] = frozenset()
    own_hull: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def formulas(self) -> list[str]:
        return [crystal.formula for crystal in self.crystals]

    @cached_property
    def described(self) -> np.ndarray:
        """(n, 93) float32: what is known without a calculation, of composition (90) and cell (3)."""
        rows = np.column_stack([composition_features(self.crystals), cell_features(self.crystals, self.spacegroups)])
        return np.ascontiguousarray(rows, dtype=np.float32)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of structures and values."""
        rows = [[i, structure_hash(c)] for i, c in zip(self.ids, self.crystals, strict=True)]
        values = {name: column.tolist() for name, column in sorted(self.values.items())}
        return hashlib.sha256(json.dumps([rows, values]).encode()).hexdigest()

    def hits(self, conditions: Conditions) -> np.ndarray:
        """(n,) bool: meets every written condition."""
        good = np.ones(len(self), dtype=bool)
        for name, (low, high) in conditions.intervals.items():
            good &= (self.values[name] >= low) & (self.values[name] <= high)
        return good

    def predicts_hull(self, conditions: Conditions) -> bool:
        """Whether the conditions ask for distances to the hull that follow from formation energies."""
        return self.own_hull and q.ENERGY_ABOVE_HULL in conditions.quantities

    def to_learn(self, conditions: Conditions) -> tuple[str, ...]:
        """Quantities a learner has to predict for these conditions."""
        wanted = [name for name in conditions.quantities if name not in self.exact]
        if self.predicts_hull(conditions):
            wanted[wanted.index(q.ENERGY_ABOVE_HULL)] = q.FORMATION_ENERGY
        return tuple(dict.fromkeys(wanted))

    def complete(
        self, learned: Columns, rows: Sequence[int], conditions: Conditions, *, expected: bool = True
    ) -> Columns:
        """Add what follows from the learned columns and the labels of ``rows``, and what is exact.

        Args:
            expected: distances to the hull are those to the labelled phases and to all others as predicted; otherwise
                to the labelled ones alone.
        """
        columns = dict(learned)
        if self.predicts_hull(conditions):
            mean, std = columns[q.FORMATION_ENERGY]
            known = Hull([self._phases[i] for i in rows])
            compositions = [c.composition for c in self.crystals]
            if expected:
                labelled = set(rows)
                names = [name if i in labelled else None for i, name in enumerate(self.ids)]
                above = ExpectedHull(known, compositions, mean, names=names).distances()
            else:
                above = mean - np.asarray(known.hull_energies(compositions))
            columns[q.ENERGY_ABOVE_HULL] = (above, std)
        for name in self.exact & set(conditions.quantities):
            columns[name] = (self.values[name], np.zeros(len(self)))
        return columns

    @cached_property
    def _phases(self) -> list[HullEntry]:
        energies = self.values[q.FORMATION_ENERGY]
        return [
            HullEntry(i, c.composition, float(e)) for i, c, e in zip(self.ids, self.crystals, energies, strict=True)
        ]

    @classmethod
    def load(cls, data: DataSettings, conditions: Conditions) -> KnownPool:
        """The candidates that have every quantity of the conditions.

        Raises:
            DatasetError: nothing there, a damaged line, or nobody has all the quantities.
        """
        pool = _from_dataset(data) if data.dataset is not None else _from_records(data)
        missing = [name for name in conditions.quantities if name not in pool.values]
        if missing:
            raise DatasetError(
                f"the data say nothing about {', '.join(missing)}",
                where=data.dataset or data.records,
                remedy=f"known here: {', '.join(sorted(pool.values))}",
            )
        chosen = np.array([_chosen(c, p, data) for c, p in zip(pool.crystals, pool.prototypes, strict=True)])
        if not chosen.any():
            raise DatasetError(
                "no structure of these elements and prototypes",
                where=data.dataset,
                remedy=f"prototypes here: {', '.join(sorted(set(pool.prototypes)))}",
            )
        names = {*conditions.quantities, *pool.to_learn(conditions)}
        keep = chosen & np.all([np.isfinite(pool.values[name]) for name in names], axis=0)
        if not keep.any():
            raise DatasetError("no structure has all the quantities asked about", where=data.dataset or data.records)
        rows = np.flatnonzero(keep)
        return cls(
            tuple(pool.ids[i] for i in rows),
            tuple(pool.crystals[i] for i in rows),
            tuple(pool.prototypes[i] for i in rows),
            pool.spacegroups[rows],
            {name: column[rows] for name, column in pool.values.items()},
            pool.exact,
            pool.own_hull,
        )


def _chosen(crystal: Crystal, prototype: str, data: DataSettings) -> bool:
    """Whether a structure belongs to the part of the dataset that is searched."""
    inside = not data.elements or set(crystal.composition) <= set(data.elements)
    return inside and (not data.prototypes or prototype in data.prototypes)


def _from_records(data: DataSettings) -> KnownPool:
    path = Path(str(data.records))
    ids, crystals, prototypes, groups = [], [], [], []
    columns: dict[str, list[float]] = {q.quantity(name).name: [] for name in data.targets.values()}
    for name in columns:
        if q.quantity(name).form is q.Form.TENSOR:
            raise DatasetError(f"{name} is a tensor; a search is about numbers", where=path, remedy="leave it out")
    for record in _lines(path):
        try:
            crystal = Crystal.from_record(record["structure"])
            targets, identity = record["targets"], str(record["id"])
        except KeyError as error:
            raise DatasetError(f"a record has no {error}", where=path) from None
        if data.volume == "touching":
            crystal = crystal.scaled_to_volume(touching_volume(crystal))
        label = prototype_label(crystal) if "space_group" not in record else ""
        group = int(record["space_group"]) if not label else int(label.split("_")[1])
        ids.append(identity)
        crystals.append(crystal)
        groups.append(group)
        prototypes.append(f"{_anonymous(crystal)}_{group}")
        for field_name, name in data.targets.items():
            value = targets.get(field_name)
            columns[name].append(np.nan if value is None else float(value))
    if not ids:
        raise DatasetError("no records", where=path)
    return KnownPool(
        tuple(ids),
        tuple(crystals),
        tuple(prototypes),
        np.array(groups),
        {name: np.array(column) for name, column in columns.items()},
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return [json.loads(line) for line in file if line.strip()]
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror or error}", where=path) from error
    except ValueError as error:
        raise DatasetError(f"a line is not JSON: {error}", where=path) from error


def _anonymous(crystal: Crystal) -> str:
    counts = sorted(n // crystal.n_formula_units for n in crystal.composition.values())
    return "".join(letter + (str(n) if n > 1 else "") for letter, n in zip("ABCDEFGH", counts, strict=False))


def _from_dataset(data: DataSettings) -> KnownPool:
    entries = Dataset.load(resource("data/dataset") if data.dataset == "shipped" else str(data.dataset)).computed
    if not entries:
        raise DatasetError("nothing computed in this dataset", where=data.dataset)
    names = sorted({label.quantity for entry in entries for label in entry.labels})
    found = [entry.values() for entry in entries]
    values = {name: np.array([v.get(name, np.nan) for v in found]) for name in names}
    values[q.SUPPLY_RISK] = np.array([_risk(entry.initial) for entry in entries])
    if q.FORMATION_ENERGY in values:
        phases = [
            HullEntry(e.id, e.initial.composition, v[q.FORMATION_ENERGY])
            for e, v in zip(entries, found, strict=True)
            if q.FORMATION_ENERGY in v
        ]
        above = {
            p.name: Hull([o for o in phases if o is not p]).energy_above_hull(
                p.composition, p.formation_energy_per_atom
            )
            for p in phases
        }
        values[q.ENERGY_ABOVE_HULL] = np.array([above.get(e.id, np.nan) for e in entries])
    return KnownPool(
        tuple(e.id for e in entries),
        tuple(e.initial for e in entries),
        tuple(e.prototype for e in entries),
        np.array([int(prototype_label(e.initial).split("_")[1]) for e in entries]),
        values,
        frozenset({q.SUPPLY_RISK}),
        own_hull=True,
    )


def _risk(crystal: Crystal) -> float:
    try:
        return supply_risk(crystal.composition)
    except ElementError:
        return float("nan")
