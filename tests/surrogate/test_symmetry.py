"""What must not change a prediction: rotation, translation, order of atoms, choice of cell, inversion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.spatial.transform import Rotation

from materia.crystal import Crystal
from materia.surrogate import GraphStore, Network, SurrogateSettings
from materia.surrogate._reference import E3nnKernels
from surrogate_factory import make_network, rocksalt, triclinic

# Predictions are of order one. float32: neighbour vectors are rounded after rotation, and sums run in another order.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}
DTYPES = [pytest.param(torch.float32, id="float32"), pytest.param(torch.float64, id="float64")]
ROTATION = Rotation.from_euler("xyz", [0.4, -1.2, 2.2]).as_matrix()


def rotated(c: Crystal) -> Crystal:
    return Crystal(c.lattice @ ROTATION.T, c.numbers, c.frac_coords)


def translated(c: Crystal) -> Crystal:
    return Crystal(c.lattice, c.numbers, c.frac_coords + np.array([0.317, -1.211, 0.05]))


def permuted(c: Crystal) -> Crystal:
    order = np.random.default_rng(0).permutation(c.n_atoms)
    return Crystal(c.lattice, c.numbers[order], c.frac_coords[order])


def supercell(c: Crystal) -> Crystal:
    return Crystal.from_ase(c.to_ase().repeat((2, 1, 2)))


def sheared(c: Crystal) -> Crystal:
    """Other lattice vectors of the same lattice."""
    change = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    return Crystal(change @ c.lattice, c.numbers, c.frac_coords @ np.linalg.inv(change))


def inverted(c: Crystal) -> Crystal:
    return Crystal(c.lattice, c.numbers, -c.frac_coords)


@pytest.fixture(scope="module")
def network() -> Network:
    return make_network(SurrogateSettings(channels=16, layers=3, pretrained=None)).eval()


def outputs(network: Network, crystals: list[Crystal], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    net = network.to(dtype)
    with torch.inference_mode():
        values, latent = net(GraphStore.build(crystals, net.cutoff, dtype).batch(range(len(crystals))))
    return values.flatten(1), latent


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("change", [rotated, translated, permuted, supercell, sheared, inverted])
def test_nothing_but_the_crystal_matters(
    crystals: list[Crystal], network: Network, change: Callable[[Crystal], Crystal], dtype: torch.dtype
) -> None:
    before = outputs(network, crystals, dtype)
    after = outputs(network, [change(c) for c in crystals], dtype)
    for a, b in zip(before, after, strict=True):
        assert (a - b).abs().max() < TOLERANCE[dtype]


def test_the_comparison_could_fail(crystals: list[Crystal], network: Network) -> None:
    """A one per cent strain moves every prediction by far more than any tolerance above."""
    strained = [c.scaled_to_volume(1.03 * c.volume) for c in crystals]
    before, _ = outputs(network, crystals, torch.float64)
    after, _ = outputs(network, strained, torch.float64)
    assert (before - after).abs().amax(dim=1).min() > 1e-4


def test_equivariant_state_rotates_as_e3nn_says(network: Network) -> None:
    net = network.to(torch.float64)
    features = []
    for c in (triclinic(), rotated(triclinic())):
        with torch.inference_mode():
            features.append(net.node_features(GraphStore.build([c], net.cutoff, torch.float64).batch([0])))
    before, after = features
    wigner = o3.Irreps(net.irreps).D_from_matrix(torch.tensor(ROTATION))
    assert (before - after).abs().max() > 1e-2
    assert torch.allclose(after, before @ wigner.T.double(), atol=1e-6)  # e3nn's matrices: float32 accuracy


@pytest.mark.parametrize("dtype", DTYPES)
def test_network_on_e3nn_kernels_gives_the_same(crystals: list[Crystal], dtype: torch.dtype) -> None:
    settings = SurrogateSettings(channels=8, layers=2, pretrained=None)
    packed = make_network(settings).eval()
    reference = Network(packed.targets, **settings.architecture(), kernels=E3nnKernels()).eval()
    reference.load_state_dict(packed.state_dict())
    before, after = outputs(packed, crystals, dtype), outputs(reference, crystals, dtype)
    for a, b in zip(before, after, strict=True):
        assert (a - b).abs().max() < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_company_in_the_batch_changes_nothing(crystals: list[Crystal], network: Network, dtype: torch.dtype) -> None:
    together, _ = outputs(network, crystals, dtype)
    for i, crystal in enumerate(crystals):
        alone, _ = outputs(network, [crystal], dtype)
        assert (alone[0] - together[i]).abs().max() < TOLERANCE[dtype]


def test_prediction_is_smooth_where_a_neighbour_crosses_the_cutoff(network: Network) -> None:
    net = network.to(torch.float64)
    a = network.cutoff / 0.5**0.5  # second neighbours exactly at the cutoff
    scales = a * (1 + np.array([-1e-6, 0.0, 1e-6]))
    values, _ = outputs(net, [rocksalt("Na", "Cl", s) for s in scales], torch.float64)
    assert (values[2] - 2 * values[1] + values[0]).abs().max() < 1e-9
