"""Crystal graphs: all structures in a few flat arrays, and padded batches cut from them by index arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from materia.crystal import Crystal
from materia.errors import ModelError

_SHARE_OF_GPU = 0.5  # of its free memory that graphs may take; the rest is for the network's work


@dataclass  # not frozen: Lightning sets the fields when it changes their precision; nobody else does
class Batch:
    """Several structures, neighbours padded to the largest number in the batch.

    N atoms, B structures, K neighbours (at least 1, so that lone atoms need no special case).

    Attributes:
        numbers: (N,) atomic numbers.
        structure: (N,) which structure of the batch an atom belongs to.
        n_atoms: (B,) atoms of each structure.
        neighbour: (N, K) index of the neighbouring atom in the batch; 0 where padded.
        vectors: (N, K, 3) from the atom to its neighbour, Å; (1, 1, 1) where padded, never zero.
        mask: (N, K) True where a neighbour is real.
        volume: (B,) volume per atom, Å³.
        index: (B,) rows of the store the structures came from.
    """

    numbers: Tensor
    structure: Tensor
    n_atoms: Tensor
    neighbour: Tensor
    vectors: Tensor
    mask: Tensor
    volume: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.n_atoms)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None, non_blocking: bool = False
    ) -> Batch:
        """The same batch elsewhere; ``dtype`` applies to the floating-point fields."""

        def move(value: Tensor) -> Tensor:
            kind = dtype if value.is_floating_point() else None
            return value.to(device=device, dtype=kind, non_blocking=non_blocking)

        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True)
class GraphStore:
    """The graphs of S structures with A atoms and E neighbour pairs in all.

    Build it once for a pool and hand it to every prediction: the graphs are shared by all networks.

    Attributes:
        cutoff: pairs up to this distance are present, Å.
        atoms: (S + 1,) where each structure's atoms begin.
        pairs: (A + 1,) where each atom's pairs begin.
        numbers: (A,) atomic numbers.
        neighbour: (E,) the neighbour's index within its structure.
        vectors: (E, 3) from the atom to its neighbour, Å.
        volume: (S,) volume per atom, Å³.
    """

    cutoff: float
    atoms: Tensor
    pairs: Tensor
    numbers: Tensor
    neighbour: Tensor
    vectors: Tensor
    volume: Tensor

    @classmethod
    def build(cls, crystals: Sequence[Crystal], cutoff: float, dtype: torch.dtype = torch.float32) -> GraphStore:
        """Neighbour lists of all structures (vesin), every periodic image within the cutoff.

        Args:
            crystals: the structures.
            cutoff: Å.
            dtype: of vectors and volumes; computed in float64 in any case.
        """
        from vesin import NeighborList

        # one thread: a cell of ten atoms has nothing to share out, and waking threads costs more than the search
        search = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
        counts = [c.n_atoms for c in crystals]
        lengths, pairs, vectors = [], [np.zeros((0, 2), np.uint64)], [np.zeros((0, 3))]
        for crystal in crystals:
            found, vector = search.compute(
                points=(crystal.frac_coords % 1.0) @ crystal.lattice,
                box=crystal.lattice,
                periodic=True,
                quantities="PD",
            )
            lengths.append(len(found))
            pairs.append(found.reshape(-1, 2))
            vectors.append(vector.reshape(-1, 3))
        ends = np.concatenate(pairs).astype(np.int64)  # (E, 2) indices within the structure
        atoms = _offsets(counts)
        centre = ends[:, 0] + np.repeat(atoms[:-1].numpy(), lengths)
        return cls(
            cutoff=cutoff,
            atoms=atoms,
            pairs=_offsets(np.bincount(centre, minlength=sum(counts))),
            numbers=torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *[c.numbers for c in crystals]])),
            neighbour=torch.from_numpy(np.ascontiguousarray(ends[:, 1])),
            vectors=torch.from_numpy(np.concatenate(vectors)).to(dtype),
            volume=torch.tensor([c.volume / c.n_atoms for c in crystals], dtype=dtype),
        )

    def __len__(self) -> int:
        return len(self.volume)

    def __getitem__(self, index: int) -> Batch:
        return self.batch([index])

    def __getitems__(self, index: Sequence[int]) -> Batch:  # what torch's DataLoader calls for a whole batch
        return self.batch(index)

    @property
    def degree(self) -> Tensor:
        """(A,) number of neighbours of each atom."""
        return self.pairs.diff()

    def largest_degree(self) -> Tensor:
        """(S,) the largest number of neighbours of any atom of each structure."""
        device = self.numbers.device
        owner = torch.repeat_interleave(torch.arange(len(self), device=device), self.atoms.diff())
        largest = torch.zeros(len(self), dtype=torch.int64, device=device)
        return largest.scatter_reduce_(0, owner, self.degree, "amax")

    def has_lone_atom(self) -> Tensor:
        """(S,) whether some atom of the structure has no neighbour at all."""
        owner = torch.repeat_interleave(torch.arange(len(self)), self.atoms.diff())
        lone = torch.zeros(len(self), dtype=torch.bool)
        lone[owner[self.degree == 0]] = True
        return lone

    def to(self, device: torch.device) -> GraphStore:
        """The same graphs on that device, where batches are then cut; where they lie, if it has no room for them."""
        tensors: dict[str, Any] = {f.name: t for f in fields(self) if isinstance(t := getattr(self, f.name), Tensor)}
        if device.type == "cuda":
            size = sum(t.numel() * t.element_size() for t in tensors.values())
            if size > _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
                return self
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})

    def require(self, cutoff: float) -> None:
        """Refuse graphs that lack pairs a network of that cutoff needs."""
        if self.cutoff < cutoff:
            raise ModelError(
                f"the graphs were built with a cutoff of {self.cutoff} Å, the network needs {cutoff} Å",
                remedy="build them with Surrogate.prepare",
            )

    def batch(self, index: Sequence[int] | Tensor) -> Batch:
        """The structures of those rows as one padded batch."""
        device = self.numbers.device
        rows = torch.as_tensor(index, dtype=torch.int64, device=device)
        n_atoms = self.atoms.diff()[rows]
        first = torch.cumsum(n_atoms, 0) - n_atoms  # where each structure begins in the batch
        structure = torch.repeat_interleave(torch.arange(len(rows), device=device), n_atoms)
        atom = self.atoms[rows][structure] + torch.arange(len(structure), device=device) - first[structure]
        degree = self.degree[atom]
        slots = torch.arange(max(1, int(degree.max()) if len(degree) else 1), device=device)
        mask = slots < degree[:, None]
        pair = torch.where(mask, self.pairs[atom][:, None] + slots, 0)
        if len(self.neighbour) == 0:  # nothing but lone atoms: every slot is padding
            neighbour, vectors = torch.zeros_like(pair), self.vectors.new_ones(*pair.shape, 3)
        else:
            neighbour = torch.where(mask, self.neighbour[pair] + first[structure][:, None], 0)
            vectors = torch.where(mask[..., None], self.vectors[pair], 1.0)
        return Batch(self.numbers[atom], structure, n_atoms, neighbour, vectors, mask, self.volume[rows], rows)

    def batches(self, size: int) -> Iterator[Batch]:
        """All structures, similar numbers of neighbours together so that little is padded."""
        if len(self) == 0:
            return
        for rows in torch.argsort(self.largest_degree(), stable=True).split(size):  # type: ignore[no-untyped-call]
            yield self.batch(rows)


def _offsets(counts: Sequence[int] | np.ndarray) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))]).astype(np.int64))
