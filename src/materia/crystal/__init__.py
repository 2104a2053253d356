"""Crystal structures: arrays, identity, validity, files."""

from materia.crystal._crystal import Crystal, reduced_formula
from materia.crystal._files import NamedCrystal, read_named, read_structures, write_structure
from materia.crystal._identity import prototype_label, structure_hash, structure_type
from materia.crystal._match import same_phase
from materia.crystal._symbols import atomic_number, electronegativity, symbol
from materia.crystal._symmetry import symmetry_of
from materia.crystal._tensor import symmetrised
from materia.crystal._validity import shortest_distance, touching_volume, validate

__all__ = [
    "Crystal",
    "NamedCrystal",
    "atomic_number",
    "electronegativity",
    "prototype_label",
    "read_named",
    "read_structures",
    "reduced_formula",
    "same_phase",
    "shortest_distance",
    "structure_hash",
    "structure_type",
    "symbol",
    "symmetrised",
    "symmetry_of",
    "touching_volume",
    "validate",
    "write_structure",
]
