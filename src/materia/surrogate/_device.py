"""Where tensors live and how many threads work on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from materia.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """``auto`` is a CUDA GPU where there is one, else the CPU.

    Raises:
        ConfigError: there is no such device, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA GPU that torch can use", where="device", remedy="use cpu or auto")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {name!r}", where="device", remedy="use auto, cpu or cuda") from error


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` CPU threads inside the block.

    More threads than free cores are far worse than one: they wait for each other spinning.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
