"""Hand-packed kernels for orders l <= 2, in e3nn's basis and component order.

l = 1 is (x, y, z); l = 2 is (xz, xy, y2 - (x2 + z2)/2, yz, (z2 - x2)/2) with e3nn's polar axis y, in
"component" normalisation: the squared length of order l is 2l + 1 on the unit sphere. The tests check
every function here against e3nn (``_reference.py``), whose tensor products cost some fifty times as much.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

_S3, _S5, _S15 = 3**0.5, 5**0.5, 15**0.5


def spherical_harmonics(vectors: Tensor) -> Tensor:
    """Real spherical harmonics of l = 0, 1, 2 of the directions.

    Args:
        vectors: (..., 3), none of them zero.

    Returns:
        (..., 9), as ``e3nn.o3.spherical_harmonics([0, 1, 2], vectors, True, "component")``.
    """
    x, y, z = (vectors / vectors.norm(dim=-1, keepdim=True)).unbind(-1)
    return torch.stack(
        [
            torch.ones_like(x),
            _S3 * x,
            _S3 * y,
            _S3 * z,
            _S15 * x * z,
            _S15 * x * y,
            _S5 * (1.5 * y * y - 0.5),
            _S15 * y * z,
            0.5 * _S15 * (z * z - x * x),
        ],
        dim=-1,
    )


def symmetric_matrix(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The symmetric traceless 3x3 matrix of an l = 2 feature, of the same Frobenius norm times sqrt(2).

    Args:
        t: (N, 5, C).

    Returns:
        xx, yy, zz, xy, xz, yz: each (N, C). The norm: ``sum of squares of the matrix = 2 |t|^2``.
    """
    xz, xy, polar, yz, axial = t.unbind(1)
    third = polar / _S3
    return -third - axial, 2 * third, axial - third, xy, xz, yz


def invariants(v: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rotation and inversion invariants of a vector and a symmetric traceless matrix, per channel.

    Args:
        v: (N, 3, C) features of l = 1 (odd).
        t: (N, 5, C) features of l = 2 (even); M is its matrix (:func:`symmetric_matrix`).

    Returns:
        ``|v|^2``, ``|t|^2``, ``v.M.v``, ``det M``, ``|M v|^2``: each (N, C), body orders 2 to 4.
    """
    xx, yy, zz, xy, xz, yz = symmetric_matrix(t)
    x, y, z = v.unbind(1)
    mx = xx * x + xy * y + xz * z
    my = xy * x + yy * y + yz * z
    mz = xz * x + yz * y + zz * z
    det = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    return (
        x * x + y * y + z * z,
        (t * t).sum(1),
        x * mx + y * my + z * mz,
        det,
        mx * mx + my * my + mz * mz,
    )


class Kernels(Protocol):
    """What a back end of the network provides."""

    def harmonics(self, vectors: Tensor) -> Tensor: ...

    def invariants(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]: ...


class PackedKernels:
    """The functions above: the back end used everywhere but in tests."""

    def harmonics(self, vectors: Tensor) -> Tensor:
        return spherical_harmonics(vectors)

    def invariants(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return invariants(v, t)
