"""Crystal structures: arrays, identity, validity, files."""

from materia.crystal._crystal import Crystal, reduced_formula
from materia.crystal._files import read_structures, write_structure
from materia.crystal._identity import prototype_label, structure_hash
from materia.crystal._symbols import atomic_number, electronegativity, symbol
from materia.crystal._validity import shortest_distance, validate

__all__ = [
    "Crystal",
    "atomic_number",
    "electronegativity",
    "prototype_label",
    "read_structures",
    "reduced_formula",
    "shortest_distance",
    "structure_hash",
    "symbol",
    "validate",
    "write_structure",
]
