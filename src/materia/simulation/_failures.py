"""Failures of the science, typed: why a calculation has no value."""

from __future__ import annotations

from enum import StrEnum

from materia.errors import EngineError


class Reason(StrEnum):
    """Why a calculation failed. ``retryable`` ones may end otherwise when tried again unchanged."""

    NOT_CONVERGED = "not_converged"  # self-consistency, after the remedies
    SYMMETRY_LOST = "symmetry_lost"
    RELAXATION_UNFINISHED = "relaxation_unfinished"
    GEOMETRY_EXPLODED = "geometry_exploded"
    ATOMS_OVERLAP = "atoms_overlap"
    MISSING_PSEUDOPOTENTIAL = "missing_pseudopotential"
    OPEN_SHELL = "open_shell"
    UNSUPPORTED = "unsupported"  # the engine cannot do this structure: an element or a property it does not know
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"  # the program that computes, by a signal; the job itself lived on
    ENGINE_MISSING = "engine_missing"
    UNEXPECTED = "unexpected"

    @property
    def retryable(self) -> bool:
        return self in {Reason.OUT_OF_MEMORY, Reason.KILLED, Reason.ENGINE_MISSING, Reason.UNEXPECTED}


class Failure(Exception):  # noqa: N818 - a value of the design that travels as an exception inside one process
    """A calculation that ended without a value.

    Attributes:
        reason: the class of failure.
        message: one sentence for people.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def ordinary_failure(error: BaseException) -> Failure:
    """The failure behind an exception that says nothing of one engine alone: itself where it is one already."""
    text = f"{type(error).__name__}: {error}".strip(": ")
    if isinstance(error, Failure):
        return error
    if isinstance(error, MemoryError):
        return Failure(Reason.OUT_OF_MEMORY, text)
    if isinstance(error, EngineError):
        return Failure(Reason.MISSING_PSEUDOPOTENTIAL, text)
    return Failure(Reason.UNEXPECTED, text)
