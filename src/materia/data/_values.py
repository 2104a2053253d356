"""A label as a file gives it, made into a value of its quantity's form, or refused with the reason."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from materia.crystal import Crystal, symmetrised
from materia.errors import DatasetError
from materia.quantities import Form

Tensor3 = tuple[tuple[float, ...], ...]
Value = float | Tensor3

TENSOR_NOISE = 1e-3  # of the norm: differences from symmetry below are those of a converged calculation
TENSOR_LIMIT = 0.05  # of the norm: above, the tensor is another crystal's, or in another frame
_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # xx, yy, zz, yz, xz, xy
_ANSWERS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def is_absent(given: Any) -> bool:
    """Whether a file says nothing there: no such key, ``null``, an empty cell."""
    return given is None or (isinstance(given, str) and not given.strip())


def read_value(given: Any, form: Form, what: str) -> Value:
    """A value of that form.

    Args:
        given: a number or its text; for a class 0, 1, true or false; for a tensor a nested list of 3x3 numbers, or 9
            numbers row by row, or 6 in Voigt's order (xx, yy, zz, yz, xz, xy), also as text.
        form: what it is to be.
        what: its name, for the message.

    Raises:
        DatasetError: it is none; says why.
    """
    if form is Form.TENSOR:
        return _tensor(given, what)
    if form is Form.CLASS:
        answer = _ANSWERS.get(str(given).strip().lower())
        if answer is None:
            raise DatasetError(f"{what} is {str(given)[:60]!r}, not 0, 1, true or false")
        return answer
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise DatasetError(f"{what} is {str(given)[:60]!r}, not a number") from None
    if not math.isfinite(value):
        raise DatasetError(f"{what} is {value}, not a finite number")
    if form is Form.LOG and value <= 0:
        raise DatasetError(f"{what} is {value}, not positive, so it has no logarithm")
    return value


def _tensor(given: Any, what: str) -> Tensor3:
    try:
        if isinstance(given, str):
            given = json.loads(given) if given.lstrip().startswith("[") else given.replace(";", " ").split()
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise DatasetError(f"{what} is {str(given)[:60]!r}, not a tensor of numbers") from None
    if array.shape == (6,):
        array = array[np.array(_VOIGT)]
    elif array.shape == (9,):
        array = array.reshape(3, 3)
    if array.shape != (3, 3):
        raise DatasetError(f"{what} has the shape {array.shape}; a tensor is 3x3, or 9 numbers, or 6 in Voigt's order")
    if not np.isfinite(array).all():
        raise DatasetError(f"{what} has an entry that is not a finite number")
    difference = float(np.linalg.norm(array - array.T)) / max(float(np.linalg.norm(array)), 1e-300)
    if difference > TENSOR_LIMIT:
        raise DatasetError(f"{what} is not symmetric: it differs from its transpose by {100 * difference:.0f} %")
    array = (array + array.T) / 2
    least = float(np.linalg.eigvalsh(array)[0])
    if least <= 0:
        raise DatasetError(f"{what} is not positive definite: its least eigenvalue is {least:.4g}")
    return _nested(array)


def obey_symmetry(value: Value, crystal: Crystal, what: str) -> tuple[Value, bool]:
    """A tensor as the crystal's point group demands it, and whether it had to be changed for that.

    Raises:
        DatasetError: it is too far from it to be a property of this crystal in this frame.
    """
    if not isinstance(value, tuple):
        return value, False
    array = np.array(value)
    symmetric = symmetrised(crystal, array)
    difference = float(np.linalg.norm(symmetric - array) / np.linalg.norm(array))
    if difference > TENSOR_LIMIT:
        raise DatasetError(
            f"{what} contradicts the symmetry of its crystal by {100 * difference:.0f} %: it may be in another frame"
        )
    return (_nested((symmetric + symmetric.T) / 2), True) if difference > TENSOR_NOISE else (value, False)


def _nested(array: np.ndarray) -> Tensor3:
    return tuple(tuple(float(x) for x in row) for row in array)
