"""The exception family: every message says what was given, where, and what to do about it."""

from __future__ import annotations

from pathlib import Path


class MateriaError(Exception):
    """Base of all errors a user can meet.

    Args:
        what: one sentence that says what is wrong and prints the offending value.
        where: file, key or job the value came from.
        remedy: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        parts = [what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if remedy:
            parts.append(f"  remedy: {remedy}")
        super().__init__("\n".join(parts))


class ConfigError(MateriaError):
    """A campaign file or setting that cannot be used."""


class StructureError(MateriaError):
    """A crystal structure that cannot be read or is not physical."""


class ElementError(MateriaError):
    """A symbol that is no element, or an element without the data asked for."""


class SpaceError(MateriaError):
    """A chemical space that yields no usable candidates."""


class DatasetError(MateriaError):
    """A dataset that is missing, damaged or does not fit its card."""


class ModelError(MateriaError):
    """A model file that is missing, damaged or does not fit what is asked of it."""


class EngineError(MateriaError):
    """A simulation engine that is missing or lacks a capability."""


class SchedulerError(MateriaError):
    """The scheduler refused or could not be asked."""


class CampaignError(MateriaError):
    """A campaign folder that cannot be used as asked."""


class CampaignLockedError(CampaignError):
    """Another driver holds the campaign."""


class StorageError(MateriaError):
    """The disk is full, or a folder cannot be written."""


class SearchError(MateriaError):
    """The search was given something it cannot decide on, or the study contradicts the campaign."""


class PoolExhaustedError(SearchError):
    """No candidate of the pool is left to choose."""
