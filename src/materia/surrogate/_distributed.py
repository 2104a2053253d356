"""Several processes that train one network together, started by ``torchrun``.

Every process holds all graphs and works on its share of each batch. Batches, random perturbations and the
loss are those of a single process, so the number of processes changes the speed and nothing else, up to the
order of sums: a training may go on with another number than it began with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from materia.errors import ModelError
from materia.surrogate._device import resolve_device

_TIMEOUT = timedelta(hours=2)  # the leader alone calibrates at the end; torchrun ends all when one process dies
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among those that train together.

    Attributes:
        rank: its number, 0 to size - 1; number 0 leads: it alone writes.
        size: how many there are.
        local_rank, local_size: the same within this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def of_environment(cls) -> World:
        """As ``torchrun`` says in the environment; alone where it did not start this process."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ[name]) for name in names))

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def together(self) -> bool:
        return self.size > 1

    def share(self, count: int) -> slice:
        """This process' part of ``count`` things; the parts are contiguous and as equal as they can be."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def wait(self) -> None:
        """Until all are here."""
        if self.together:
            distributed.barrier()

    def told(self, value: T) -> T:
        """The leader's value, in every process."""
        if not self.together:
            return value
        box: list[Any] = [value if self.leads else None]
        distributed.broadcast_object_list(box)
        return box[0]  # type: ignore[no-any-return]

    def require_same(self, network: nn.Module) -> None:
        """Refuse networks that differ between the processes in any bit.

        Raises:
            ModelError: they do.
        """
        if not self.together:
            return
        digest = hashlib.sha256()
        for name, value in sorted(network.state_dict().items()):
            raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(name.encode() + raw.numpy().tobytes())
        digests: list[Any] = [None] * self.size
        distributed.all_gather_object(digests, digest.hexdigest())
        if len(set(digests)) > 1:
            raise ModelError(
                f"the {self.size} processes ended with different weights",
                remedy="start all of them on the same kind of machine with the same versions",
            )


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The processes started with this one, connected: by NCCL on GPUs, by gloo on CPUs."""
    world = World.of_environment()
    if not world.together or distributed.is_initialized():
        yield world
        return
    cuda = resolve_device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(world.local_rank)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_TIMEOUT)
    try:
        yield world
    finally:
        distributed.destroy_process_group()
