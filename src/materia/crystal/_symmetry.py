"""One way of asking spglib, which has two of saying that it found nothing."""

from __future__ import annotations

from typing import Any


def symmetry_of(what: str, *arguments: Any, **options: Any) -> Any:
    """What a function of spglib returns; None where it finds no symmetry, as of atoms in one place.

    It returns None or raises, as the environment says (``SPGLIB_OLD_ERROR_HANDLING``), and ASE's symmetry constraint
    leaves that changed.

    Args:
        what: name of the function, such as ``get_symmetry_dataset``.
    """
    import spglib

    raised = getattr(spglib, "SpglibError", ())  # there since spglib 2.7
    try:
        return getattr(spglib, what)(*arguments, **options)
    except raised:
        return None
