"""Checkpoints of a training that is under way."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from materia.surrogate._distributed import World
from materia.surrogate._network import Network

_WHERE = ("device", "devices", "threads", "checkpoint_every")  # settings that do not change what is learned


@dataclass(frozen=True)
class Workplace:
    """Checkpoints of a training that is under way; discarded when data, settings or seed differ.

    Of several processes that train together the leader writes, and says what is there: the others may see an
    older folder through a network file system.
    """

    folder: Path
    world: World

    @classmethod
    def open(cls, folder: Path, identity: dict[str, Any], world: World) -> Workplace:
        learned = {k: v for k, v in identity["settings"].items() if k not in _WHERE}
        stamp, text = folder / "identity.json", json.dumps({**identity, "settings": learned}, sort_keys=True)
        if world.leads and not (stamp.is_file() and stamp.read_text() == text):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            stamp.write_text(text)
        world.wait()
        return cls(folder, world)

    def checkpoint(self, name: str) -> Path:
        return self.folder / f"{name}.ckpt"

    def finished(self, name: str) -> dict[str, Tensor] | None:
        """The weights of the network of that name where it is done."""
        from safetensors.torch import load_file

        path = self.folder / f"{name}.safetensors"
        return load_file(path) if self.world.told(path.is_file()) else None

    def finish(self, name: str, network: Network) -> None:
        from safetensors.torch import save_file

        if self.world.leads:
            path = self.folder / f"{name}.safetensors"
            partial = path.with_suffix(".partial")
            save_file({n: t.contiguous() for n, t in network.state_dict().items()}, partial)
            partial.replace(path)
            self.checkpoint(name).unlink(missing_ok=True)
        self.world.wait()
