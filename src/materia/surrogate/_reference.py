"""The same kernels written with e3nn: slow, plainly right, what the hand-packed ones are checked against."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


class E3nnKernels:
    """Spherical harmonics and couplings by e3nn; a drop-in for ``PackedKernels``."""

    def harmonics(self, vectors: Tensor) -> Tensor:
        """(..., 3) -> (..., 9)."""
        from e3nn import o3

        result: Tensor = o3.spherical_harmonics([0, 1, 2], vectors, normalize=True, normalization="component")
        return result

    def invariants(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(N, 3, C), (N, 5, C) -> |v|^2, |t|^2, v.M.v, det M, |M v|^2, each (N, C)."""
        image = 10**0.5 * _couple(v, t, 1)  # M v: |w(v, t)|^2 averages to |v|^2 |t|^2 / 15, |M v|^2 to 2/3 of it
        square = _couple(t, t, 2)
        # one entry fixes the constant: for t along the polar axis M = diag(-1, 2, -1)/sqrt(3), det M = 2/3^1.5
        det = 2 / 3**1.5 / float(_wigner(2, 2, 2, torch.float64)[2, 2, 2])
        return (
            3**0.5 * _couple(v, v, 0)[:, 0],
            5**0.5 * _couple(t, t, 0)[:, 0],
            (v * image).sum(1),
            det * (t * square).sum(1),
            (image * image).sum(1),
        )


@cache
def _wigner(a: int, b: int, c: int, dtype: torch.dtype) -> Tensor:
    from e3nn import o3

    result: Tensor = o3.wigner_3j(a, b, c, dtype=dtype)
    return result


def _couple(a: Tensor, b: Tensor, order: int) -> Tensor:
    """Channelwise coupling of (N, 2la+1, C) and (N, 2lb+1, C) to (N, 2l+1, C) with e3nn's 3j symbols."""
    w = _wigner((a.shape[1] - 1) // 2, (b.shape[1] - 1) // 2, order, a.dtype).to(a.device)
    return torch.einsum("nic,njc,ijk->nkc", a, b, w)
