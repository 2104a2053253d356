"""Whether two structures are the same phase, whatever their cells and sizes."""

from __future__ import annotations

from functools import cache
from typing import Any

from materia.crystal._crystal import Crystal


@cache
def _matcher() -> Any:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(primitive_cell=True, scale=True, attempt_supercell=False)


def same_phase(one: Crystal, other: Crystal) -> bool:
    """Same elements on the same pattern, cell choice and volume aside (pymatgen's StructureMatcher, default
    tolerances; Ong et al., Comput. Mater. Sci. 68, 314 (2013))."""
    if one.formula != other.formula:
        return False
    return bool(_matcher().fit(one.to_pymatgen(), other.to_pymatgen()))
