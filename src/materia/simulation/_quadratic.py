"""The symmetric tensor behind numbers that were measured along directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def quadratic_form(directions: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) tensor T with n·Tn nearest to the values in the sense of least squares.

    Args:
        directions: (m, 3) unit vectors n, of which at least six are independent.
        values: (m,) one for each.
    """
    x, y, z = directions.T
    design = np.column_stack([x * x, y * y, z * z, 2 * y * z, 2 * x * z, 2 * x * y])
    xx, yy, zz, yz, xz, xy = np.linalg.lstsq(design, values, rcond=None)[0]
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
