"""Finished calculations of others' programs, as their output files tell of them."""

from materia.data.calculations._calculation import FIELDS, Calculation
from materia.data.calculations._vasp import read_vasprun
from materia.data.calculations._walk import FORMS, read_calculations

__all__ = ["FIELDS", "FORMS", "Calculation", "read_calculations", "read_vasprun"]
