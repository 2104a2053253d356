"""One MLflow run as a value: what it should hold, independent of any store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FileContent = str | bytes | Callable[[], bytes]


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as MLflow shows it.

    Attributes:
        name: of the dataset.
        digest: hash of its full content.
        n: number of entries.
        targets: quantities it holds.
        source: where it lies or what it was computed by.
    """

    name: str
    digest: str
    n: int
    targets: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """A surrogate's folder to be stored as an MLflow model.

    Attributes:
        folder: holds ``weights.safetensors`` and ``card.json``.
        targets: quantities it predicts.
        files: what of the folder makes the model.
    """

    folder: Path
    targets: tuple[str, ...]
    files: tuple[str, ...] = ("weights.safetensors", "card.json")

    @property
    def digest(self) -> str:
        """Hash of the files' names and content."""
        digest = hashlib.sha256()
        for name in self.files:
            data = (self.folder / name).read_bytes()
            digest.update(f"{name}\0{len(data)}\0".encode())
            digest.update(data)
        return digest.hexdigest()


@dataclass(frozen=True)
class RunSpec:
    """What one run should hold.

    Attributes:
        key: identity; a store never holds two runs of one key.
        name: for people.
        status: ``RUNNING``, ``FINISHED`` or ``FAILED``.
        start_ms, end_ms: Unix times in milliseconds, where known.
        tags, params: flat text.
        metrics: (name, value, step).
        files: artifact path -> content; a function is called only when it has to be written.
        tables: which of the files MLflow should show as tables.
        datasets, model: inputs and output.
    """

    key: str
    name: str
    status: str
    start_ms: int | None = None
    end_ms: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[tuple[str, float, int], ...] = ()
    files: Mapping[str, FileContent] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    datasets: tuple[DatasetSpec, ...] = ()
    model: ModelSpec | None = None

    @property
    def digest(self) -> str:
        """Hash of everything the run should hold; what is drawn on demand is drawn from the rest of it."""
        content = {
            "name": self.name,
            "status": self.status,
            "end": self.end_ms,
            "tags": dict(self.tags),
            "params": dict(self.params),
            "metrics": sorted(self.metrics),
            "files": {p: _content_digest(c) for p, c in self.files.items()},
            "datasets": [d.digest for d in self.datasets],
            "model": self.model.digest if self.model else None,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _content_digest(content: FileContent) -> str:
    if callable(content):
        return "drawn"
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as flat text: ``{"search": {"batch": 4}}`` gives ``{"search.batch": "4"}``.

    Lists of plain values become one JSON text; lists of mappings are numbered.
    """
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{name}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) for v in value):
            numbered = {str(i): v for i, v in enumerate(value)}
            flat |= flattened(numbered, f"{name}.")
        elif isinstance(value, str):
            flat[name] = value
        else:
            flat[name] = json.dumps(value, default=str)
    return flat
