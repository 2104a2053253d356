"""Graphs: pairs by hand, padding, lone atoms, torch_geometric."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from materia.crystal import Crystal
from materia.errors import ModelError
from materia.surrogate import GraphStore, SurrogateSettings, from_pyg, pyg_loader, to_pyg
from materia.surrogate._augment import perturb
from surrogate_factory import make_network, perovskite, rocksalt


def lone() -> Crystal:
    """One helium atom in a cell of 12 Å: nothing within any cutoff."""
    return Crystal.from_species(np.eye(3) * 12.0, ["He"], [[0, 0, 0]])


def test_neighbours_of_rocksalt() -> None:
    """a = 4 Å: 6 neighbours at 2, 12 at 2.83, 8 at 3.46 within 3.9 Å."""
    store = GraphStore.build([rocksalt("Na", "Cl", 4.0)], cutoff=3.9, dtype=torch.float64)
    assert store.degree.tolist() == [26, 26]
    lengths = store.vectors.norm(dim=1)[:26].sort().values
    expected = [2.0] * 6 + [8**0.5] * 12 + [12**0.5] * 8
    assert np.allclose(lengths.numpy(), expected, atol=1e-12)
    assert store.volume.tolist() == pytest.approx([8.0])


def test_padded_batch_holds_what_the_flat_arrays_hold(crystals: list[Crystal]) -> None:
    store = GraphStore.build(crystals, 5.0, torch.float64)
    order = [3, 0, 4]
    batch = store.batch(order)
    assert batch.n_atoms.tolist() == [crystals[i].n_atoms for i in order]
    assert batch.numbers.tolist() == [z for i in order for z in crystals[i].numbers.tolist()]
    first = [0, 4, 6]
    for place, i in enumerate(order):
        alone = GraphStore.build([crystals[i]], 5.0, torch.float64)
        for a in range(crystals[i].n_atoms):
            real = batch.mask[first[place] + a]
            p0, p1 = int(alone.pairs[a]), int(alone.pairs[a + 1])
            assert int(real.sum()) == p1 - p0
            assert torch.equal(batch.vectors[first[place] + a][real], alone.vectors[p0:p1])
            assert torch.equal(batch.neighbour[first[place] + a][real] - first[place], alone.neighbour[p0:p1])
    assert (batch.vectors.norm(dim=-1) > 0).all()


def test_pairs_point_at_the_right_atoms(crystals: list[Crystal]) -> None:
    """position + vector is a periodic image of the neighbour's position."""
    for crystal in crystals:
        store = GraphStore.build([crystal], 5.0, torch.float64)
        atom = torch.repeat_interleave(torch.arange(crystal.n_atoms), store.degree).numpy()
        end = crystal.positions[atom] + store.vectors.numpy()
        shift = end @ np.linalg.inv(crystal.lattice) - crystal.frac_coords[store.neighbour.numpy()]
        assert np.allclose(shift, np.round(shift), atol=1e-9)


def test_lone_atoms_are_predicted_and_have_finite_gradients() -> None:
    store = GraphStore.build([lone(), rocksalt("Na", "Cl", 5.6)], 5.0)
    assert store.has_lone_atom().tolist() == [True, False]
    network = make_network(SurrogateSettings(channels=8, layers=2, pretrained=None))
    for rows in ([0], [0, 1]):
        values, _ = network(store.batch(rows))
        values.sum().backward()
        assert torch.isfinite(values).all()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


def test_too_short_a_cutoff_is_refused() -> None:
    store = GraphStore.build([rocksalt("Na", "Cl", 5.6)], 4.0)
    with pytest.raises(ModelError, match=r"4\.0 Å, the network needs 5\.0 Å"):
        store.require(5.0)


def test_pyg_round_trip_gives_the_same_predictions(crystals: list[Crystal]) -> None:
    store = GraphStore.build(crystals, 5.0)
    network = make_network(SurrogateSettings(channels=8, pretrained=None)).eval()
    expected, _ = network(store.batch(range(len(store))))
    (data,) = pyg_loader(store, batch_size=len(store))
    back = from_pyg(data)
    for name in ("atoms", "pairs", "numbers", "neighbour", "vectors", "volume"):
        assert torch.equal(getattr(back, name), getattr(store, name)), name
    values, _ = network(back.batch(range(len(back))))
    assert torch.equal(values, expected)
    single, _ = network(from_pyg(to_pyg(store, 2)).batch([0]))
    assert torch.allclose(single[0], expected[2], atol=1e-5)


def test_pyg_edges_may_come_in_any_order(crystals: list[Crystal]) -> None:
    store = GraphStore.build(crystals, 5.0, torch.float64)
    data = to_pyg(store, 4)
    order = torch.randperm(data.edge_index.shape[1], generator=torch.Generator().manual_seed(0))
    data.edge_index, data.edge_vec = data.edge_index[:, order], data.edge_vec[order]
    network = make_network(SurrogateSettings(channels=8, pretrained=None)).double().eval()
    expected, _ = network(store.batch([4]))
    values, _ = network(from_pyg(data).batch([0]))
    assert torch.allclose(values, expected, atol=1e-12)


def test_strain_of_a_graph_is_the_graph_of_the_strained_crystal() -> None:
    """Augmentation moves vectors and volume exactly as a rebuilt graph would have them."""
    crystal = perovskite("Sr", "Ti", "O", 3.9)
    wide = GraphStore.build([crystal], 5.6, torch.float64)
    moved = perturb(wide.batch([0]), strain=0.03, rattle=0.0, generator=torch.Generator().manual_seed(5))
    before = wide.batch([0])
    deformation = torch.linalg.lstsq(before.vectors[before.mask], moved.vectors[moved.mask]).solution.numpy()
    assert np.allclose(deformation, deformation.T, atol=1e-12)
    strained = Crystal(crystal.lattice @ deformation, crystal.numbers, crystal.frac_coords)
    assert moved.volume.item() == pytest.approx(strained.volume / 5)
    assert not np.allclose(deformation, np.eye(3), atol=1e-3)
    network = make_network(SurrogateSettings(channels=8, cutoff=5.0, pretrained=None)).double().eval()
    rebuilt, _ = network(GraphStore.build([strained], 5.0, torch.float64).batch([0]))
    values, _ = network(moved)
    assert torch.allclose(values, rebuilt, atol=1e-10)


def test_rattle_keeps_pairs_consistent() -> None:
    """Around any closed loop i -> j -> i the displacements cancel."""
    batch = GraphStore.build([perovskite("Sr", "Ti", "O", 3.9)], 4.0, torch.float64).batch([0])
    moved = perturb(batch, strain=0.0, rattle=0.05, generator=torch.Generator().manual_seed(1))
    shift = (moved.vectors - batch.vectors)[batch.mask]
    i = torch.arange(5)[:, None].expand_as(batch.neighbour)[batch.mask]
    j = batch.neighbour[batch.mask]
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        there, back = shift[(i == a) & (j == b)][0], shift[(i == b) & (j == a)][0]
        assert torch.allclose(there, -back, atol=1e-12)
    assert shift.abs().max() > 0.01
