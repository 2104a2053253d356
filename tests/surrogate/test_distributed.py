"""Two processes train what one would: same batches, same loss, identical weights in both; a killed pair goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from materia.surrogate._augment import Part, perturb
from materia.surrogate._distributed import World
from materia.surrogate._graph import GraphStore
from surrogate_factory import rocksalt, wurtzite

SCRIPT = Path(__file__).with_name("train_together.py")
LOSS_TOLERANCE = 1e-9  # relative, in double precision: only the order of sums differs
WEIGHT_TOLERANCE = 1e-7


def start(out: Path, processes: int, *arguments: str) -> int:
    out.mkdir(exist_ok=True)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    argv = [sys.executable, *(torchrun if processes > 1 else []), str(SCRIPT), str(out), *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), *sys.path]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(argv, env=env, capture_output=True, timeout=400, check=False).returncode


def notes(out: Path, rank: int = 0) -> dict[str, Any]:
    return json.loads((out / f"rank-{rank}.json").read_text())


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model/weights.safetensors")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pair")
    assert start(out, 2) == 0
    return out


def test_both_end_with_identical_weights_and_one_writes(pair: Path) -> None:
    first, second = notes(pair, 0), notes(pair, 1)
    assert len(first["digests"]) == 2 and first["digests"] == second["digests"]
    assert len(first["losses"]) == 8 and second["losses"] == {}  # the second logs nothing
    assert sorted(p.name for p in (pair / "model").iterdir()) == ["card.json", "weights.safetensors"]


def test_as_one_process_at_the_same_global_batch(pair: Path, tmp_path: Path) -> None:
    assert start(tmp_path, 1) == 0
    alone, together = notes(tmp_path)["losses"], notes(pair)["losses"]
    assert alone.keys() == together.keys()
    assert together == pytest.approx(alone, rel=LOSS_TOLERANCE)
    a, b = weights(tmp_path), weights(pair)
    assert a.keys() == b.keys()
    assert all(torch.allclose(a[k].double(), b[k].double(), atol=WEIGHT_TOLERANCE) for k in a if "network" in k)


@pytest.mark.parametrize("then", [pytest.param(2, marks=pytest.mark.slow), 1])
def test_a_killed_pair_goes_on(pair: Path, tmp_path: Path, then: int) -> None:
    """SIGKILL of the leader after epoch 3: two go on bit for bit, and one may go on where two were."""
    assert start(tmp_path, 2, "3") != 0
    assert not (tmp_path / "model/card.json").exists()
    assert (tmp_path / "model/training/member-0.ckpt").exists()
    assert start(tmp_path, then) == 0
    assert min(notes(tmp_path)["losses"]) == "member_0_train_loss@4"  # not from the start
    a, b = weights(tmp_path), weights(pair)
    if then == 2:
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert all(torch.allclose(a[k].double(), b[k].double(), atol=WEIGHT_TOLERANCE) for k in a if "network" in k)


def test_shares_cover_everything_once() -> None:
    for count in range(12):
        parts = [list(range(count))[World(rank, 5, rank, 5).share(count)] for rank in range(5)]
        assert [k for part in parts for k in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_share_is_perturbed_as_in_the_whole_batch() -> None:
    store = GraphStore.build([rocksalt("Na", "Cl", 5.6), wurtzite("Zn", "O", 3.2), rocksalt("Li", "F", 4.0)], 4.0)
    draw = {"strain": 0.02, "rattle": 0.05}
    whole = perturb(store.batch([0, 1, 2]), generator=torch.Generator().manual_seed(1), **draw)
    part = Part(whole.n_atoms, slice(1, 3))
    share = perturb(store.batch([1, 2]), generator=torch.Generator().manual_seed(1), part=part, **draw)
    assert torch.equal(share.volume, whole.volume[1:])
    width = share.mask.shape[1]
    assert torch.equal(share.vectors[share.mask], whole.vectors[2:, :width][share.mask])
