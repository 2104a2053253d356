"""Where tensors live, how many threads work on them, and that they come out the same every time."""

from __future__ import annotations

import os
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


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, let sums be taken in one order inside the block, so that the same work gives the same bits.

    Without, many threads add to one number as they come, and predictions differ from call to call in the last digits.
    On a CPU they do not, and nothing is changed.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # NVIDIA's condition for repeatable products
    before = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=lenient)
