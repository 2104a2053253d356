"""Reference energies, the convex hull of known phases, and the one that is expected."""

from materia.stability._expected import ExpectedHull
from materia.stability._hull import Hull, HullEntry
from materia.stability._references import ElementReference, References

__all__ = ["ElementReference", "ExpectedHull", "Hull", "HullEntry", "References"]
