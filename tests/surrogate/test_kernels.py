"""Every hand-packed kernel against e3nn."""

from __future__ import annotations

import pytest
import torch
from e3nn import o3

from materia.surrogate._kernels import invariants, spherical_harmonics, symmetric_matrix
from materia.surrogate._reference import E3nnKernels

WIGNER = 1e-6  # e3nn 0.6 computes rotations from angles to float32 accuracy, whatever the dtype
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}  # relative to features of order one


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def features(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return (
        torch.randn(7, 3, 4, generator=draw, dtype=torch.float64).to(dtype),
        torch.randn(7, 5, 4, generator=draw, dtype=torch.float64).to(dtype),
    )


def e3nn_matrix(t: torch.Tensor) -> torch.Tensor:
    """(N, 3, 3, C) symmetric traceless matrices of l = 2 features, by e3nn's change of basis."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # e3nn computes its change of basis in the default dtype
    try:
        product = o3.ReducedTensorProducts("ij=ji", i="1o")
    finally:
        torch.set_default_dtype(before)
    basis = product.change_of_basis.to(t.dtype)  # (0e + 2e, 3, 3), each of unit Frobenius norm
    return torch.einsum("nmc,mij->nijc", t, basis[1:]) * 2**0.5


def test_harmonics_are_those_of_e3nn(dtype: torch.dtype) -> None:
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    expected = o3.spherical_harmonics([0, 1, 2], vectors, normalize=True, normalization="component")
    assert torch.allclose(spherical_harmonics(vectors), expected, atol=TOLERANCE[dtype], rtol=0)


def test_matrix_is_that_of_e3nn(dtype: torch.dtype) -> None:
    _, t = features(dtype)
    xx, yy, zz, xy, xz, yz = symmetric_matrix(t)
    ours = torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=1).view(7, 3, 3, 4)
    assert torch.allclose(ours, e3nn_matrix(t), atol=TOLERANCE[dtype], rtol=0)


def test_invariants_are_tensor_products_of_e3nn(dtype: torch.dtype) -> None:
    v, t = features(dtype)
    for ours, theirs in zip(invariants(v, t), E3nnKernels().invariants(v, t), strict=True):
        assert theirs.abs().max() > 0.1
        assert torch.allclose(ours, theirs, atol=10 * TOLERANCE[dtype], rtol=10 * TOLERANCE[dtype])


def test_invariants_by_hand() -> None:
    """M = diag(1, 1, -2) and v = (1, 2, 3): v.M.v = -13, det = -2, |Mv|^2 = 41, |M|^2 = 6."""
    t = torch.zeros(1, 5, 1, dtype=torch.float64)
    # e3nn's l = 2: polar axis y; zz = axial - polar/sqrt3, xx = -axial - polar/sqrt3, yy = 2 polar/sqrt3
    t[0, 2, 0], t[0, 4, 0] = 3**0.5 / 2, -1.5
    v2, t2, vmv, det, mv2 = (x.item() for x in invariants(torch.tensor([[[1.0], [2.0], [3.0]]]).double(), t))
    assert v2 == pytest.approx(14)
    assert 2 * t2 == pytest.approx(6)
    assert vmv == pytest.approx(1 + 4 - 18)
    assert det == pytest.approx(-2)
    assert mv2 == pytest.approx(1 + 4 + 36)


def test_invariants_do_not_change_under_wigner_rotation_and_inversion(dtype: torch.dtype) -> None:
    v, t = features(dtype)
    angles = torch.tensor([0.3, 1.1, -0.7], dtype=torch.float64)
    vector, tensor = (o3.wigner_D(order, *angles).to(dtype) for order in (1, 2))
    rotated = invariants(-torch.einsum("ij,njc->nic", vector, v), torch.einsum("ij,njc->nic", tensor, t))
    for before, after in zip(invariants(v, t), rotated, strict=True):
        worst = float((before - after).abs().max() / before.abs().max())
        assert worst < max(WIGNER, 10 * TOLERANCE[dtype])
