"""One line of a dataset: a structure, what was computed on it, and how that went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from materia.crystal import Crystal
from materia.errors import DatasetError, MateriaError
from materia.record import Label, to_json


@dataclass(frozen=True)
class JobResult:
    """What one job published.

    Attributes:
        key: content hash of recipe, structure and level: the same calculation anywhere has the same key.
        recipe: ``relax``, ``gap``, ...
        status: ``completed`` or ``failed``.
        reason, message: why it failed.
        values: what the recipe returned.
        provenance: versions, digests of PAW sets, wall and CPU seconds.
    """

    key: str
    recipe: str
    status: str
    reason: str
    message: str
    values: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One structure of a dataset.

    Attributes:
        id: unique in the dataset.
        prototype: name of the prototype or file it came from.
        status: ``computed`` or ``failed``.
        reason: why it failed.
        initial: the structure before relaxation.
        structure: the relaxed structure; the initial one where there is none.
        labels: values with fidelity, level and source.
        jobs: what was run, in order.
    """

    id: str
    prototype: str
    status: str
    reason: str
    initial: Crystal
    structure: Crystal
    labels: tuple[Label, ...]
    jobs: tuple[JobResult, ...]

    @property
    def formula(self) -> str:
        return self.initial.formula

    def values(self) -> dict[str, float]:
        """quantity -> value."""
        return {label.quantity: label.value for label in self.labels}

    def to_record(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "formula": self.formula,
            "prototype": self.prototype,
            "status": self.status,
            "reason": self.reason,
            "initial": self.initial.to_record(),
            "structure": self.structure.to_record(),
            "labels": [to_json(label) for label in self.labels],
            "jobs": [to_json(job) for job in self.jobs],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], *, where: str = "") -> Entry:
        """Inverse of :meth:`to_record`.

        Raises:
            DatasetError: a field is missing or wrong.
        """
        try:
            return cls(
                id=record["id"],
                prototype=record["prototype"],
                status=record["status"],
                reason=record["reason"],
                initial=Crystal.from_record(record["initial"]),
                structure=Crystal.from_record(record["structure"]),
                labels=tuple(Label(**label) for label in record["labels"]),
                jobs=tuple(JobResult(**job) for job in record["jobs"]),
            )
        except (KeyError, TypeError, MateriaError) as error:
            raise DatasetError(
                f"entry {record.get('id', '?')!r} is damaged: {error}", where=where, remedy="restore the file"
            ) from error
