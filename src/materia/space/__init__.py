"""Where candidates come from: prototypes, substitution, files; the frozen pool."""

from materia.space._build import build_prototype
from materia.space._charges import balanced_charges, likely_charges
from materia.space._files import structure_files
from materia.space._generate import generate
from materia.space._pool import Pool
from materia.space._prototypes import PROTOTYPES, Prototype, prototype
from materia.space._scan import count_structures, pool_file, scan_structures, write_structures
from materia.space._settings import SpaceSettings

__all__ = [
    "PROTOTYPES",
    "Pool",
    "Prototype",
    "SpaceSettings",
    "balanced_charges",
    "build_prototype",
    "count_structures",
    "generate",
    "likely_charges",
    "pool_file",
    "prototype",
    "scan_structures",
    "structure_files",
    "write_structures",
]
