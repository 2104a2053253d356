"""Tensors and their irreducible components: by hand, against e3nn, and under rotation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e3nn import o3
from e3nn.io import CartesianTensor
from scipy.spatial.transform import Rotation

from materia.surrogate._kernels import symmetric_matrix
from materia.surrogate._tensors import exp_tensor, from_irreps, log_tensor, mean_eigenvalue, to_irreps

TURN = Rotation.from_euler("xyz", [0.4, -1.2, 2.2]).as_matrix()


def some(n: int = 6) -> np.ndarray:
    """Symmetric matrices."""
    matrix = np.random.default_rng(0).normal(size=(n, 3, 3))
    return matrix + matrix.transpose(0, 2, 1)


def test_a_known_tensor() -> None:
    """e3nn's l = 2 is (xz, xy, y2-(x2+z2)/2, yz, (z2-x2)/2): a uniaxial tensor along y has the third alone."""
    components = to_irreps(np.diag([2.0, 5.0, 2.0]))
    assert components == pytest.approx([9 / 3**0.5, 0, 0, 6**0.5, 0, 0])  # M - 3 = diag(-1, 2, -1), its norm sqrt(6)
    along_z = to_irreps(np.diag([2.0, 2.0, 5.0]))[1:]
    assert along_z == pytest.approx([0, 0, -(6**0.5) / 2, 0, 3 / 2**0.5])
    shear = np.zeros((3, 3))
    shear[0, 2] = shear[2, 0] = 1.0
    assert to_irreps(shear) == pytest.approx([0, 2**0.5, 0, 0, 0, 0])


def test_there_and_back_and_the_norm_stays() -> None:
    matrix = some()
    assert from_irreps(to_irreps(matrix)) == pytest.approx(matrix, abs=1e-14)
    assert np.linalg.norm(to_irreps(matrix), axis=1) == pytest.approx(np.linalg.norm(matrix, axis=(1, 2)))


def test_components_are_those_of_e3nn() -> None:
    theirs = CartesianTensor("ij=ji")
    assert str(theirs) == "1x0e+1x2e"
    assert to_irreps(some()) == pytest.approx(theirs.from_cartesian(torch.tensor(some()).float()).numpy(), abs=1e-5)


def test_components_turn_as_e3nn_says() -> None:
    wigner = o3.Irreps("0e + 2e").D_from_matrix(torch.tensor(TURN)).double().numpy()
    turned = TURN @ some() @ TURN.T
    assert to_irreps(turned) == pytest.approx(to_irreps(some()) @ wigner.T, abs=1e-5)  # e3nn's matrices: float32


def test_l2_is_that_of_the_network_s_features() -> None:
    """The kernels' matrix of an l = 2 feature has sqrt(2) times its norm."""
    t = np.random.default_rng(1).normal(size=(4, 5))
    xx, yy, zz, xy, xz, yz = (part.squeeze(-1).numpy() for part in symmetric_matrix(torch.tensor(t)[..., None]))
    matrix = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]).transpose(2, 0, 1)
    assert from_irreps(np.column_stack([np.zeros(4), t])) == pytest.approx(matrix / 2**0.5, abs=1e-12)


def test_logarithm_and_exponential() -> None:
    logarithm = some()
    grown = exp_tensor(logarithm)
    assert (np.linalg.eigvalsh(grown) > 0).all()
    assert log_tensor(grown) == pytest.approx(logarithm, abs=1e-9)
    assert exp_tensor(TURN @ logarithm @ TURN.T) == pytest.approx(TURN @ grown @ TURN.T, rel=1e-9)
    assert log_tensor(np.diag([1.0, np.e, np.e**2])) == pytest.approx(np.diag([0.0, 1.0, 2.0]), abs=1e-14)
    assert mean_eigenvalue(np.diag([1.0, 2.0, 6.0])) == pytest.approx(3.0)
