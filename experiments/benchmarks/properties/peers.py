"""Trains one published network for a given CPU time, in an environment of its own, and predicts a list of structures.

    PYTHON peers.py PEER --data FILE --split FILE --work FOLDER --targets A [B] --seconds N

PEER is ``megnet``, ``tensornet`` (matgl) or ``alignn`` (its pure-torch network), each with its package's default size,
cutoff and rate. FILE of ``--split`` is JSON: the ids of ``train``, ``validation`` and ``test``. One thread; the loss is
the mean absolute error of standardised labels; the peer's own schedule of rates is stretched over the CPU time (matgl's
trainer: cosine to one hundredth; ALIGNN's: one cycle), which counts neighbour graphs, steps and validation, not
imports, reading and the final predictions. The weights kept are, for each target, those of the epoch with the lowest
error on the validation part. A run that was cut off goes on from its last epoch. Nothing of materia is imported. The
last line printed is JSON; predictions are left in ``FOLDER/result.json``.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
EVALUATED = 64  # structures at once where nothing is learned


@dataclass
class Peer:
    """A network with its own way of making graphs and of changing its learning rate.

    Attributes:
        network: the network.
        graph: a pymatgen structure -> what ``forward`` takes a list of.
        forward: graphs -> (B, T).
        optimizer: with the peer's own kind and rate.
        rate: share of the run done -> factor of the rate.
    """

    network: nn.Module
    graph: Callable[[Any], Any]
    forward: Callable[[Sequence[Any]], Tensor]
    optimizer: torch.optim.Optimizer
    rate: Callable[[float], float]


def cosine(done: float) -> float:
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def one_cycle(done: float) -> float:
    """torch's OneCycleLR with its defaults: from 1/25 up to 1 in the first 0.3, then down to 4e-6."""

    def between(first: float, last: float, x: float) -> float:
        return last + (first - last) / 2 * (1 + math.cos(math.pi * x))

    return between(0.04, 1.0, done / 0.3) if done < 0.3 else between(1.0, 4e-6, (done - 0.3) / 0.7)


def matgl(name: str, targets: int) -> Peer:
    from matgl.config import DEFAULT_ELEMENTS
    from matgl.ext.pymatgen import Structure2Graph
    from matgl.models import MEGNet, TensorNet
    from torch_geometric.data import Batch

    if name == "megnet":
        if targets != 1:
            raise SystemExit("matgl's MEGNet has one output: train it once for each target")
        network: nn.Module = MEGNet(element_types=DEFAULT_ELEMENTS)
    else:
        network = TensorNet(element_types=DEFAULT_ELEMENTS, is_intensive=True, ntargets=targets)
    convert = Structure2Graph(element_types=DEFAULT_ELEMENTS, cutoff=network.cutoff)

    def graph(structure: Any) -> Any:
        found, lattice, state = convert.get_graph(structure)
        cell = torch.as_tensor(lattice)[0]
        found.pos, found.pbc_offshift = found.frac_coords @ cell, found.pbc_offset @ cell
        return found, torch.tensor(state, dtype=torch.float32)

    def forward(items: Sequence[Any]) -> Tensor:
        graphs, states = zip(*items, strict=True)
        return network(Batch.from_data_list(list(graphs)), state_attr=torch.stack(states)).reshape(-1, targets)

    return Peer(network, graph, forward, torch.optim.Adam(network.parameters(), lr=1e-3), cosine)


def alignn(targets: int) -> Peer:
    from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
    from alignn.torch_graph_builder import batch_torch_graph_pairs, build_pure_torch_graph
    from jarvis.core.atoms import Atoms

    settings = ALIGNNAtomWisePureConfig(
        name="alignn_atomwise_pure",
        atom_input_features=92,
        output_features=targets,
        calculate_gradient=False,
        gradwise_weight=0,
        energy_mult_natoms=False,
        use_penalty=False,
    )
    network = ALIGNNAtomWisePure(settings)

    def graph(structure: Any) -> Any:
        atoms = Atoms(
            lattice_mat=structure.lattice.matrix,
            coords=structure.frac_coords,
            elements=[site.specie.symbol for site in structure],
            cartesian=False,
        )
        return build_pure_torch_graph(
            atoms, two_body_cutoff=5.0, three_body_cutoff=3.5, max_neighbors=12, atom_features="cgcnn"
        )

    def forward(items: Sequence[Any]) -> Tensor:
        graphs, line_graphs = batch_torch_graph_pairs(list(items))
        return network((graphs, line_graphs, None))["out"].reshape(-1, targets)

    return Peer(network, graph, forward, torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-5), one_cycle)


def read(data: Path, split: Path, targets: Sequence[str]) -> dict[str, tuple[list[str], list[Any], Tensor]]:
    """Ids, structures and (n, T) labels of each part."""
    from pymatgen.core import Structure

    with gzip.open(data, "rt") as lines:
        rows = {row["id"]: row for row in map(json.loads, lines)}
    parts = {}
    for name, ids in json.loads(split.read_text()).items():
        of_part = [rows[i] for i in ids]
        found = [row["structure"] for row in of_part]
        structures = [Structure(s["lattice"], s["species"], s["frac_coords"]) for s in found]
        parts[name] = (ids, structures, torch.tensor([[float(row["targets"][t]) for t in targets] for row in of_part]))
    return parts


class Run:
    """One training, with its clock and what it is to go on from."""

    def __init__(self, peer: Peer, args: argparse.Namespace) -> None:
        self.peer, self.args = peer, args
        self.file = args.work / "checkpoint.pt"
        self.used, self.graphs, self.epoch, self.steps = 0.0, 0.0, 0.0, 0
        self.best: list[dict[str, Any]] = [{"mae": math.inf} for _ in args.targets]
        self.curve: list[dict[str, Any]] = []
        self.since = time.process_time()

    def clock(self) -> float:
        """CPU seconds of this training, cut-off runs up to their last epoch included."""
        return self.used + time.process_time() - self.since

    def resume(self) -> None:
        if not self.file.exists():
            return
        state = torch.load(self.file, weights_only=True)
        self.peer.network.load_state_dict(state["network"])
        self.peer.optimizer.load_state_dict(state["optimizer"])
        for name in ("used", "graphs", "epoch", "steps", "best", "curve"):
            setattr(self, name, state[name])

    def save(self) -> None:
        kept = {name: getattr(self, name) for name in ("graphs", "epoch", "steps", "best", "curve")}
        kept |= {"network": self.peer.network.state_dict(), "optimizer": self.peer.optimizer.state_dict()}
        partial = self.file.with_suffix(".partial")
        torch.save({**kept, "used": self.clock()}, partial)
        partial.replace(self.file)

    def predict(self, graphs: Sequence[Any], centre: Tensor, scale: Tensor) -> Tensor:
        self.peer.network.eval()
        parts = [graphs[i : i + EVALUATED] for i in range(0, len(graphs), EVALUATED)]
        with torch.no_grad():
            found = torch.cat([self.peer.forward(part) for part in parts]) * scale + centre
        self.peer.network.train()
        return found


def fit(run: Run, parts: dict[str, tuple[list[str], list[Any], Tensor]]) -> tuple[Tensor, Tensor, list[Any]]:
    """Train until the time is over; returns centre and scale of the labels, and the validation graphs."""
    args, peer = run.args, run.peer
    run.resume()
    run.since = time.process_time()
    _, structures, labels = parts["train"]
    graphs = [peer.graph(s) for s in structures]
    watched = [peer.graph(s) for s in parts["validation"][1]]
    if run.graphs:  # they were counted before this run was cut off
        run.since = time.process_time()
    else:
        run.graphs = run.clock()
    centre, scale = labels.mean(0), labels.std(0)
    wanted = (labels - centre) / scale
    peer.network.train()
    while run.clock() < args.seconds:
        order = torch.randperm(
            len(graphs), generator=torch.Generator().manual_seed(1000 * args.seed + len(run.curve))
        ).tolist()
        done = 0
        for start in range(0, len(order) - 1, args.batch):
            rows = order[start : start + args.batch]
            for group in peer.optimizer.param_groups:
                group["lr"] = 1e-3 * peer.rate(min(1.0, run.clock() / args.seconds))
            peer.optimizer.zero_grad()
            loss = (peer.forward([graphs[j] for j in rows]) - wanted[rows]).abs().mean()
            loss.backward()
            peer.optimizer.step()
            run.steps += 1
            done += len(rows)
            if run.clock() >= args.seconds:
                break
        run.epoch += done / len(order)
        error = (run.predict(watched, centre, scale) - parts["validation"][2]).abs().mean(0).tolist()
        if not all(map(math.isfinite, error)):
            raise SystemExit("the training diverged")
        for k, value in enumerate(error):
            if value < run.best[k]["mae"]:
                run.best[k] = {"mae": value, "epoch": run.epoch, "network": copy.deepcopy(peer.network.state_dict())}
        run.curve.append({"cpu_s": round(run.clock(), 1), "epoch": round(run.epoch, 3), "validation_mae": error})
        print(json.dumps(run.curve[-1]), flush=True)
        run.save()
    return centre, scale, watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("megnet", "tensornet", "alignn"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)

    parts = read(args.data, args.split, args.targets)
    peer = alignn(len(args.targets)) if args.peer == "alignn" else matgl(args.peer, len(args.targets))
    run = Run(peer, args)
    centre, scale, watched = fit(run, parts)
    used = run.curve[-1]["cpu_s"]
    result: dict[str, Any] = {
        "peer": args.peer,
        "targets": args.targets,
        "cpu_s": used,
        "graphs_cpu_s": round(run.graphs, 1),
        "epochs": round(run.epoch, 2),
        "steps": run.steps,
        "batch": args.batch,
        "seed": args.seed,
        "parameters": sum(p.numel() for p in peer.network.parameters()),
        "validation_mae": [best["mae"] for best in run.best],
        "best_epoch": [round(best["epoch"], 2) for best in run.best],
        "curve": run.curve,
        "versions": {name: version(name) for name in ("matgl", "alignn", "torch")},
    }
    graphs = [peer.graph(s) for s in parts["test"][1]]
    for k, target in enumerate(args.targets):
        peer.network.load_state_dict(run.best[k]["network"])
        for part, known in (("validation", watched), ("test", graphs)):
            found = run.predict(known, centre, scale)[:, k].tolist()
            result.setdefault(part, {})[target] = dict(zip(parts[part][0], found, strict=True))
    (args.work / "result.json").write_text(json.dumps(result))
    print(json.dumps({name: value for name, value in result.items() if name not in ("curve", "validation", "test")}))


if __name__ == "__main__":
    main()
