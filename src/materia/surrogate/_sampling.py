"""Which structures make up the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from materia.surrogate._distributed import World
from materia.surrogate._graph import Batch, GraphStore

_WINDOW = 8  # batches among which structures are sorted by size: little padding, still well shuffled
_NOISE = 0.3  # of the logarithm of the size when sorting: no two epochs have the same batches


class BucketSampler(Sampler[list[int]]):
    """Shuffled batches of similar structures; the order depends on (seed, epoch) alone."""

    def __init__(self, rows: Sequence[int], sizes: Tensor, batch_size: int, seed: int) -> None:
        self.rows = torch.as_tensor(rows, dtype=torch.int64)
        self.sizes, self.batch_size, self.seed = sizes, batch_size, seed
        self.epoch = 0

    @property
    def sampler(self) -> BucketSampler:
        """Lightning calls ``batch_sampler.sampler.set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        rows = self.rows[torch.randperm(len(self.rows), generator=generator)]
        batches: list[Tensor] = []
        for window in rows.split(self.batch_size * _WINDOW):  # type: ignore[no-untyped-call]
            noise = _NOISE * torch.randn(len(window), generator=generator)
            key = torch.log(self.sizes[window].clamp(min=1)) + noise
            batches += window[torch.argsort(key, stable=True)].split(self.batch_size)
        for i in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[i].tolist()


class Shares(Dataset[Any]):
    """One process' part of each batch, with the rows of the whole batch."""

    def __init__(self, store: GraphStore, world: World) -> None:
        self.store, self.world = store, world

    def __len__(self) -> int:
        return len(self.store)

    def __getitems__(self, rows: list[int]) -> tuple[Batch, list[int]]:
        mine = rows[self.world.share(len(rows))]
        return self.store.batch(mine or rows[:1]), rows  # where there is nothing to do, what is done does not count


def _as_is(batch: Any) -> Any:
    return batch


def training_loader(
    store: GraphStore, rows: Sequence[int], batch_size: int, seed: int, world: World | None = None
) -> DataLoader[Any]:
    """Loader of shuffled batches over some rows of the store: this process' share, and all rows of the batch."""
    sampler = BucketSampler(rows, store.largest_degree().cpu(), batch_size, seed)
    return DataLoader(Shares(store, world or World()), batch_sampler=sampler, collate_fn=_as_is)


def plain_loader(store: GraphStore, rows: Sequence[int], batch_size: int) -> DataLoader[Batch]:
    """Loader of the rows in order, for validation."""
    batches = [list(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
    return DataLoader(store, batch_sampler=batches, collate_fn=_as_is)  # type: ignore[arg-type]
