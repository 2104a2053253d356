"""Speed of one published network, in an environment of its own: structure to number, one thread.

    PYTHON peers.py PEER FILE... --n 512 --repeats 3

PEER is ``megnet``, ``m3gnet`` (matgl), ``alignn`` (the pure-torch one with its package's default size) or ``chgnet``
(energy only). Weights do not change the speed: CHGNet has those of its wheel, the others random ones. Each takes
pymatgen structures, as its users would. Nothing of materia is imported. Prints one JSON object: structures per CPU
second by file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
Predict = Callable[[list[Any]], Any]


def read(file: Path, n: int) -> list[Any]:
    """At most ``n`` structures at even steps through a file of records."""
    from pymatgen.core import Structure

    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line)["structure"] for line in lines]
    rows = rows[:: max(1, len(rows) // n)][:n]
    return [Structure(r["lattice"], r["species"], r["frac_coords"]) for r in rows]


def matgl(name: str) -> tuple[Predict, int]:
    from matgl.config import DEFAULT_ELEMENTS
    from matgl.ext.pymatgen import Structure2Graph
    from matgl.models import M3GNet, MEGNet
    from torch_geometric.data import Batch

    if name == "megnet":
        model = MEGNet(element_types=DEFAULT_ELEMENTS, is_intensive=True)
    else:
        model = M3GNet(element_types=DEFAULT_ELEMENTS, is_intensive=True, readout_type="set2set")
    model.eval()
    convert = Structure2Graph(element_types=DEFAULT_ELEMENTS, cutoff=model.cutoff)

    def predict(structures: list[Any]) -> Any:
        graphs, states = [], []
        for structure in structures:
            graph, lattice, state = convert.get_graph(structure)
            cell = torch.as_tensor(lattice)[0]
            graph.pos, graph.pbc_offshift = graph.frac_coords @ cell, graph.pbc_offset @ cell
            graphs.append(graph)
            states.append(torch.tensor(state, dtype=torch.float32))
        with torch.no_grad():
            return model(Batch.from_data_list(graphs), state_attr=torch.stack(states))

    return predict, sum(p.numel() for p in model.parameters())


def alignn() -> tuple[Predict, int]:
    from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
    from alignn.torch_graph_builder import batch_torch_graph_pairs, build_pure_torch_graph
    from jarvis.core.atoms import Atoms

    settings = ALIGNNAtomWisePureConfig(
        name="alignn_atomwise_pure",
        atom_input_features=92,
        calculate_gradient=False,
        gradwise_weight=0,
        energy_mult_natoms=False,
        use_penalty=False,
    )
    model = ALIGNNAtomWisePure(settings).eval()

    def pair(structure: Any) -> Any:
        atoms = Atoms(
            lattice_mat=structure.lattice.matrix,
            coords=structure.frac_coords,
            elements=[site.specie.symbol for site in structure],
            cartesian=False,
        )
        return build_pure_torch_graph(
            atoms, two_body_cutoff=5.0, three_body_cutoff=3.5, max_neighbors=12, atom_features="cgcnn"
        )

    def predict(structures: list[Any]) -> Any:
        with torch.no_grad():
            graph, line_graph = batch_torch_graph_pairs([pair(s) for s in structures])
            return model((graph, line_graph, None))["out"]

    return predict, sum(p.numel() for p in model.parameters())


def chgnet() -> tuple[Predict, int]:
    from chgnet.model import CHGNet

    model = CHGNet.load(use_device="cpu", verbose=False)
    return lambda s: model.predict_structure(s, task="e", batch_size=len(s)), sum(p.numel() for p in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("megnet", "m3gnet", "alignn", "chgnet"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    build: dict[str, Callable[[], tuple[Predict, int]]] = {"alignn": alignn, "chgnet": chgnet}
    predict, parameters = build.get(args.peer, lambda: matgl(args.peer))()
    rates = {}
    for file in args.files:
        structures = read(file, args.n)
        predict(structures[: args.batch])
        times = []
        for _ in range(args.repeats):
            started = time.process_time()
            for start in range(0, len(structures), args.batch):
                predict(structures[start : start + args.batch])
            times.append(time.process_time() - started)
        rates[file.name.split(".")[0]] = len(structures) / min(times)
    print(json.dumps({"peer": args.peer, "parameters": parameters, "batch": args.batch, "structures_per_s": rates}))


if __name__ == "__main__":
    main()
