"""To and from torch_geometric, for users who bring or take PyG models and loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from materia.surrogate._graph import GraphStore

if TYPE_CHECKING:
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader


def to_pyg(store: GraphStore, index: int) -> Data:
    """One graph as PyG ``Data``.

    Returns:
        ``z`` (n,), ``edge_index`` (2, E) from neighbour to atom, ``edge_vec`` (E, 3) from atom to neighbour in Å,
        ``volume`` (1,) per atom in Å³, ``cutoff`` (1,) in Å.
    """
    from torch_geometric.data import Data

    a0, a1 = int(store.atoms[index]), int(store.atoms[index + 1])
    p0, p1 = int(store.pairs[a0]), int(store.pairs[a1])
    atom = torch.repeat_interleave(torch.arange(a1 - a0), store.degree[a0:a1])
    return Data(
        z=store.numbers[a0:a1],
        edge_index=torch.stack([store.neighbour[p0:p1], atom]),
        edge_vec=store.vectors[p0:p1],
        volume=store.volume[index : index + 1],
        cutoff=torch.tensor([store.cutoff], dtype=torch.float64),
        num_nodes=a1 - a0,
    )


def from_pyg(data: Any) -> GraphStore:
    """Graphs from a PyG ``Data`` or ``Batch`` with the fields of :func:`to_pyg`; edges in any order."""
    n = int(data.num_nodes)
    atoms = getattr(data, "ptr", None)
    atoms = torch.tensor([0, n]) if atoms is None else atoms
    first = torch.repeat_interleave(atoms[:-1], atoms.diff())
    neighbour, atom = data.edge_index
    order = torch.argsort(atom, stable=True)
    degree = torch.bincount(atom, minlength=n)
    return GraphStore(
        cutoff=float(data.cutoff.min()),
        atoms=atoms,
        pairs=torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(degree, 0)]),
        numbers=data.z,
        neighbour=(neighbour - first[atom])[order],
        vectors=data.edge_vec[order],
        volume=data.volume,
    )


def pyg_loader(store: GraphStore, batch_size: int = 32, shuffle: bool = False) -> DataLoader:
    """A PyG ``DataLoader`` over all graphs of the store."""
    from torch_geometric.loader import DataLoader

    return DataLoader([to_pyg(store, i) for i in range(len(store))], batch_size=batch_size, shuffle=shuffle)
