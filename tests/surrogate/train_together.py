"""Trains a small model; started by ``test_distributed`` alone or under torchrun, and told what to note and when to die.

train_together.py OUT [KILL_AT_EPOCH]
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from materia.crystal import electronegativity
from materia.surrogate import Example, SurrogateSettings, _ensemble, train
from surrogate_factory import rocksalt, zincblende

SETTINGS = SurrogateSettings(
    channels=8, layers=2, cutoff=4.0, members=2, replicas=2, epochs=4, batch_size=5, precision="64-true",
    pretrained=None, device="cpu", checkpoint_every=1, learning_rate=5e-3,
)  # fmt: skip


def examples() -> list[Example]:
    rows = []
    for i, cation in enumerate(["Li", "Na", "K", "Mg", "Ca", "Zn"]):
        for j, anion in enumerate(["O", "F", "S", "Cl"]):
            crystal = (zincblende, rocksalt)[(i + j) % 2](cation, anion, 4.4 + 0.12 * i + 0.1 * j)
            ionic = electronegativity(anion) - electronegativity(cation)
            targets = {"formation_energy_per_atom": -ionic}
            if (i + 3 * j) % 4:
                targets["gap_pbe"] = max(0.0, 2.0 * ionic - 1.5)
            rows.append(Example(crystal, targets, crystal.formula))
    return rows


def main(out: Path, kill_at: int) -> None:
    rank = int(os.environ.get("RANK", "0"))
    digests: list[str] = []
    losses: dict[str, float] = {}
    plain = _ensemble.train_member

    def noted(*arguments: Any, **named: Any) -> Any:
        network = plain(*arguments, **named)
        state = network.state_dict()
        digests.append(hashlib.sha256(b"".join(state[k].numpy().tobytes() for k in sorted(state))).hexdigest())
        return network

    def log(metrics: Mapping[str, float], epoch: int) -> None:
        losses.update({f"{name}@{epoch}": value for name, value in metrics.items()})
        if epoch == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    _ensemble.train_member = noted
    train(
        examples(), targets=["formation_energy_per_atom", "gap_pbe"], settings=SETTINGS, folder=out / "model",
        seed=3, logger=log, progress=False,
    )  # fmt: skip
    (out / f"rank-{rank}.json").write_text(json.dumps({"digests": digests, "losses": losses}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else -1)
