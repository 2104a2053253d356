"""Acquisitions, one family a file; others are found by the entry point group ``materia.acquisitions``."""

from materia.search.acquisitions._base import Acquisition, Situation, load, names

__all__ = ["Acquisition", "Situation", "load", "names"]
