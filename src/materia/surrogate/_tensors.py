"""Symmetric 3x3 tensors and their irreducible parts l = 0 and l = 2; logarithm and exponential of tensors.

The six irreducible components are those of e3nn's ``CartesianTensor("ij=ji")``: one of l = 0, the trace over
sqrt(3), then five of l = 2 in e3nn's order, whose polar axis is y (see ``_kernels``). The change of basis is
orthonormal, so the norm of the components is the Frobenius norm of the matrix. It happens here and nowhere else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 6
_EXPONENT = 300.0  # of ten: beyond, a double would overflow

Array = NDArray[np.float64]


def _basis() -> Array:
    """(6, 3, 3) symmetric matrices of unit Frobenius norm, orthogonal to each other."""
    basis = np.zeros((6, 3, 3))
    x, y, z = range(3)
    basis[0] = np.eye(3) / 3**0.5
    for component, (i, j) in ((1, (x, z)), (2, (x, y)), (4, (y, z))):
        basis[component, i, j] = basis[component, j, i] = 0.5**0.5
    basis[3] = np.diag([-1.0, 2.0, -1.0]) / 6**0.5
    basis[5] = np.diag([-1.0, 0.0, 1.0]) / 2**0.5
    return basis


_BASIS = _basis()


def to_irreps(matrix: Array) -> Array:
    """(..., 3, 3) symmetric matrices -> (..., 6) components."""
    components: Array = np.einsum("kij,...ij->...k", _BASIS, matrix)
    return components


def from_irreps(components: Array) -> Array:
    """(..., 6) components -> (..., 3, 3) symmetric matrices."""
    matrix: Array = np.einsum("kij,...k->...ij", _BASIS, components)
    return matrix


def log_tensor(matrix: Array) -> Array:
    """Natural logarithm of symmetric positive definite matrices (..., 3, 3)."""
    values, vectors = np.linalg.eigh(matrix)
    logarithm: Array = (vectors * np.log(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return logarithm


def exp_tensor(matrix: Array) -> Array:
    """Exponential of symmetric matrices (..., 3, 3): symmetric and positive definite, whatever they are."""
    values, vectors = np.linalg.eigh(matrix)
    grown = np.exp(np.clip(values, -_EXPONENT, _EXPONENT))
    product: Array = (vectors * grown[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return (product + np.swapaxes(product, -1, -2)) / 2


def mean_eigenvalue(matrix: Array) -> Array:
    """One third of the trace of (..., 3, 3)."""
    third: Array = np.trace(matrix, axis1=-2, axis2=-1) / 3
    return third
