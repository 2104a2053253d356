"""Labelled datasets: entries, storage with a pinned digest, export."""

from materia.data._entry import Entry, JobResult
from materia.data._export import export
from materia.data._store import Dataset, content_digest

__all__ = ["Dataset", "Entry", "JobResult", "content_digest", "export"]
