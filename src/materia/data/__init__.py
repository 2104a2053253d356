"""Labelled datasets: entries, storage with a pinned digest, export; labelled structures from others' files."""

from materia.data._entry import Entry, JobResult
from materia.data._export import export
from materia.data._labelled import FORMS, LabelledRows, Row, read_labelled, read_unlabelled, source_digest
from materia.data._rows import Quarantined
from materia.data._store import Dataset, content_digest
from materia.data._values import Value, read_value

__all__ = [
    "FORMS",
    "Dataset",
    "Entry",
    "JobResult",
    "LabelledRows",
    "Quarantined",
    "Row",
    "Value",
    "content_digest",
    "export",
    "read_labelled",
    "read_unlabelled",
    "read_value",
    "source_digest",
]
