"""spglib says that it found nothing in two ways; both are heard."""

from __future__ import annotations

import numpy as np
import pytest

from materia.crystal import Crystal, prototype_label, structure_type, symmetrised, symmetry_of

ON_TOP = Crystal(np.eye(3) * 4.0, np.array([14, 14]), np.zeros((2, 3)))


@pytest.mark.parametrize("raises", ["true", "false"])
def test_atoms_in_one_place_have_no_symmetry(raises: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASE's FixSymmetry leaves the variable at ``false`` for the rest of the process."""
    monkeypatch.setenv("SPGLIB_OLD_ERROR_HANDLING", raises)
    cell = (ON_TOP.lattice, ON_TOP.frac_coords, ON_TOP.numbers)
    assert symmetry_of("get_symmetry_dataset", cell, symprec=0.01) is None
    assert prototype_label(ON_TOP).split("_")[1] == "1"
    assert structure_type(ON_TOP).split("_")[1] == "1"
    assert symmetrised(ON_TOP, np.diag([1.0, 2.0, 3.0])) == pytest.approx(np.diag([1.0, 2.0, 3.0]))


def test_symmetry_is_found() -> None:
    simple = (np.eye(3) * 3.0, np.zeros((1, 3)), np.array([84]))
    assert symmetry_of("get_symmetry_dataset", simple, symprec=0.01).number == 221
