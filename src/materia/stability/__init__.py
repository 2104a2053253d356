"""Reference energies and the convex hull of known phases."""

from materia.stability._hull import Hull, HullEntry
from materia.stability._references import ElementReference, References

__all__ = ["ElementReference", "Hull", "HullEntry", "References"]
