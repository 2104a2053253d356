"""A trained surrogate: an ensemble of networks, or a process that reads them out, with calibrated uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from materia.crystal import Crystal
from materia.errors import ModelError
from materia.quantities import Form, Kind, Quantity, declare, quantity
from materia.surrogate._calibration import Z90, Calibration
from materia.surrogate._canaries import canary_columns, require_canaries
from materia.surrogate._compiled import compile_network
from materia.surrogate._device import repeatable, resolve_device, threads
from materia.surrogate._drift import Drift, calibrated, drift, remoteness
from materia.surrogate._evidence import Evidence
from materia.surrogate._files import read_model, write_model
from materia.surrogate._graph import GraphStore
from materia.surrogate._latents import LatentIndex
from materia.surrogate._layout import Layout, from_figure, tensors, to_figure
from materia.surrogate._network import Network
from materia.surrogate._predictions import Predictions
from materia.surrogate._probability import ProbabilityCalibration
from materia.surrogate._progress import bar
from materia.surrogate._readout import Readout
from materia.surrogate._towers import Towers, make_network, plan_of

_BATCH = 16  # larger ones fall out of a CPU's cache: 64 take up to twice as long
_OF_NETWORKS = ("targets", "quantities", "architecture", "towers")
_BATCH_GPU = 512  # on an H100 as fast as 2048, in a quarter of the memory


@dataclass(frozen=True)
class Member:
    """One network of the ensemble, or several side by side, and what they have learned from, in their latent space."""

    network: Network | Towers
    index: LatentIndex

    def evaluate(
        self, store: GraphStore, device: torch.device
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
        """Mean (n, W) and spread (n, W) over replicas of the learned columns, and latents (n, C)."""
        network = self.network.to(device).eval()
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        with torch.inference_mode(), repeatable(device):
            for batch in store.to(device).batches(_BATCH if device.type == "cpu" else _BATCH_GPU):
                values, latent = network(batch.to(device, network.centre.dtype))
                parts.append((batch.index.cpu(), network.physical(values.double()).cpu(), latent.float().cpu()))
        self.network.to("cpu")
        if not parts:
            empty = np.zeros((0, network.layout.width))
            return empty, empty, np.zeros((0, self.index.points.shape[1]), np.float32)
        order = torch.argsort(torch.cat([p[0] for p in parts]))
        values = torch.cat([p[1] for p in parts])[order]
        latents = torch.cat([p[2] for p in parts])[order]
        spread = values.std(-1) if values.shape[-1] > 1 else torch.zeros_like(values[..., 0])
        return values.mean(-1).numpy(), spread.numpy(), latents.numpy()


@dataclass(frozen=True)
class Surrogate:
    """An ensemble that predicts several quantities of a crystal with a calibrated uncertainty.

    Made by :func:`materia.surrogate.train` or :meth:`load`.

    Attributes:
        members: the networks.
        calibration: per target, error as a function of what is known at prediction time; of a class, its probability.
        card: what the model is: targets, data digest, settings, versions, validation. Plain JSON.
        device: where predictions run: ``auto``, ``cpu``, ``cuda``...
        n_threads: CPU threads for predictions.
        readout: the Gaussian process that reads the networks out; None where they predict the targets themselves.
    """

    members: tuple[Member, ...]
    calibration: Mapping[str, Calibration | ProbabilityCalibration]
    card: Mapping[str, Any]
    device: str = "auto"
    n_threads: int = 1
    readout: Readout | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.card["targets"])

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The targets: as the card declares them, else as registered."""
        return quantities_of(self.card)

    @property
    def layout(self) -> Layout:
        """Which of the learned columns belong to which target."""
        return Layout(tuple(q.form for q in self.quantities))

    @property
    def networks_card(self) -> dict[str, Any]:
        """What tells the shape of the networks: the entries of a card that they were trained with."""
        if self.readout is not None:
            return dict(self.card["readout"]["networks"])
        return {name: self.card[name] for name in _OF_NETWORKS if name in self.card}

    @property
    def cutoff(self) -> float:
        """Neighbours up to here are seen, Å."""
        return float(self.card["architecture"]["cutoff"])

    def prepare(self, crystals: Sequence[Crystal]) -> GraphStore:
        """The graphs of a pool, to be built once and handed to every :meth:`predict`; as precise as the networks."""
        return GraphStore.build(crystals, self.cutoff, self.members[0].network.centre.dtype)

    def predict(self, crystals: Sequence[Crystal] | GraphStore, *, progress: bool = False) -> Predictions:
        """Predict all targets for all structures.

        Args:
            crystals: structures, or their graphs from :meth:`prepare`.
            progress: show a progress bar.

        Raises:
            ModelError: the graphs were built with too short a cutoff.
        """
        store = crystals if isinstance(crystals, GraphStore) else self.prepare(crystals)
        store.require(self.cutoff)
        device = resolve_device(self.device)
        results = []
        with threads(self.n_threads), bar(progress, "predicting", len(self.members)) as report:
            for member in self.members:
                results.append(member.evaluate(store, device))
                report(len(results))
            distances = np.stack([m.index.distance(r[2]) for m, r in zip(self.members, results, strict=True)])
        layout, embedding = self.layout, np.concatenate([r[2] for r in results], axis=1)
        columns, spreads = np.stack([r[0] for r in results]), np.stack([r[1] for r in results])
        evidence = Evidence.of(columns, spreads, distances, self.members[0].network.layout)
        above: Mapping[int, tuple[NDArray[np.float64], ...]] = {}
        if self.readout is not None:
            evidence, above = self.readout.evidence(evidence, embedding, store)
        learned, figures, bounded = evidence.columns, evidence.figures, self.bounded(evidence.figures)
        mean, std, size = np.empty_like(figures), np.empty_like(figures), np.ones_like(figures)
        ends, found = {}, {}
        for j, target in enumerate(self.quantities):
            calibration = self.calibration[target.name]
            if isinstance(calibration, ProbabilityCalibration):
                mean[:, j] = from_figure(calibration.logit(figures[:, j]), Form.CLASS)
                std[:, j] = np.sqrt(mean[:, j] * (1 - mean[:, j]))
                continue
            std[:, j] = calibration.std(evidence.features(target, j))
            if target.kind is Kind.EXTENSIVE:  # learned per atom
                size[:, j] = store.atoms.diff().numpy()
            mean[:, j] = from_figure(bounded[:, j], target.form) * size[:, j]
            if target.form is Form.SCALAR:
                std[:, j] *= size[:, j]
                continue
            reach = Z90 * std[:, j]
            lower, upper = (from_figure(bounded[:, j] + way, target.form) * size[:, j] for way in (-reach, reach))
            ends[target.name] = (lower, upper)
            std[:, j] = (upper - lower) / (2 * Z90)
            if target.form is Form.TENSOR:
                found[target.name] = tensors(learned[:, layout.columns[j]], bounded[:, j])
        return Predictions(
            targets=self.targets,
            mean=mean,
            std=std,
            embedding=embedding,
            in_domain=self._in_domain(store, evidence.distance),
            bounds=tuple(q.lower for q in self.quantities),
            forms=layout.forms,
            ends=ends,
            tensors=found,
            hurdles={self.targets[j]: parts for j, parts in above.items()},
        )

    def remoteness(self, predictions: Predictions) -> NDArray[np.float64]:
        """(n,) how far each structure of a prediction lies from the training data: the share of the formulas left out
        in training that lie nearer, about uniform from 0 to 1 for structures of their kind; 1 where it is outside the
        model's domain altogether, as with an element that training has never shown; NaN where nothing was left out."""
        record, indices = self.card.get("unseen", []), [m.index for m in self.members]
        found = remoteness(record, indices, predictions.embedding)
        return np.where(predictions.in_domain | np.isnan(found), found, 1.0)

    def drift(self, remote: NDArray[np.float64], groups: Sequence[str]) -> Drift:
        """Whether a pool is unlike the formulas that the intervals were calibrated on.

        Args:
            remote: (n,) of :meth:`remoteness`.
            groups: (n) reduced formulas of its structures.
        """
        return drift(remote, groups, calibrated(self.card.get("unseen", [])))

    def bounded(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, T) figures (``_layout``) within physical bounds, and within a widened range of the training labels."""
        ranges = np.array([self.card["ranges"][name] for name in self.targets], dtype=np.float64)
        lower = [q.lower for q in self.quantities]
        floor = np.array([-np.inf if b is None else b for b in lower])
        for j, form in enumerate(self.layout.forms):
            if form is Form.CLASS:
                ranges[j], floor[j] = (-np.inf, np.inf), -np.inf
            elif form is not Form.SCALAR:
                ranges[j], floor[j] = to_figure(ranges[j], form), -np.inf
        reach = 0.5 * (ranges[:, 1] - ranges[:, 0])
        inside: NDArray[np.float64] = np.clip(figures, ranges[:, 0] - reach, ranges[:, 1] + reach)
        bounded: NDArray[np.float64] = np.maximum(inside, floor)
        return bounded

    def _in_domain(self, store: GraphStore, distance: NDArray[np.float64]) -> NDArray[np.bool_]:
        known = torch.zeros(int(store.numbers.max()) + 1 if len(store.numbers) else 1, dtype=torch.bool)
        seen = [z for z in self.card["elements"] if z < len(known)]
        known[seen] = True
        strange = torch.zeros(len(store), dtype=torch.bool)
        owner = torch.repeat_interleave(torch.arange(len(store)), store.atoms.diff())
        strange[owner[~known[store.numbers]]] = True
        near = distance <= float(self.card["domain_distance"])
        return np.asarray(near & ~(strange | store.has_lone_atom()).numpy())

    def save(self, folder: str | Path) -> Surrogate:
        """Write ``weights.safetensors`` and ``card.json``; returns the surrogate with the card as written."""
        tensors: dict[str, Tensor] = {}
        for k, member in enumerate(self.members):
            tensors |= {f"member.{k}.network.{n}": t for n, t in member.network.state_dict().items()}
            tensors |= {
                f"member.{k}.latent.{n}": torch.from_numpy(np.ascontiguousarray(getattr(member.index, n)))
                for n in ("centre", "scale", "points")
            }
        if self.readout is not None:
            tensors |= {f"readout.{name}": array for name, array in self.readout.tensors().items()}
        card = {
            **self.card,
            "members": [{"latent_unit": m.index.unit} for m in self.members],
            "calibration": {name: c.to_json() for name, c in self.calibration.items()},
            "canaries": canary_columns(self.members),
        }
        written = write_model(Path(folder), tensors, card)
        return replace(self, card=written)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", n_threads: int = 1, compiled: bool = False) -> Surrogate:
        """Read a model folder.

        Args:
            compiled: compile the networks (:func:`~materia.surrogate._compiled.compile_network`): pays off for
                pools of some ten thousand structures.

        Raises:
            ModelError: a file is missing or damaged, weights and card do not belong together, or the canaries are
                missed.
            ConfigError: they are to be compiled, and there is no compiler.
        """
        folder = Path(folder)
        tensors, card = read_model(folder)
        try:
            members = tuple(_member(tensors, card, k, float(m["latent_unit"])) for k, m in enumerate(card["members"]))
            readout = _readout(tensors, card)
            calibration = {q.name: _calibration(q.form, card["calibration"][q.name]) for q in quantities_of(card)}
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ModelError(
                f"the weights do not fit the card: {error}", where=folder, remedy="copy the folder again or retrain"
            ) from error
        require_canaries(members, card, folder)
        if compiled:
            for member in members:
                compile_network(member.network, resolve_device(device))
        return cls(members, calibration, card, device, n_threads, readout)


def quantities_of(card: Mapping[str, Any]) -> tuple[Quantity, ...]:
    """The targets of a model: as its card declares them, else as registered."""
    declared, names = card.get("quantities", {}), card["targets"]
    return tuple(declare(name, **declared[name]) if name in declared else quantity(name) for name in names)


def _calibration(form: Form, entries: Mapping[str, Any]) -> Calibration | ProbabilityCalibration:
    return ProbabilityCalibration(**entries) if form is Form.CLASS else Calibration.from_json(entries)


def _readout(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> Readout | None:
    if "readout" not in card:
        return None
    arrays = {n.removeprefix("readout."): t for n, t in tensors.items() if n.startswith("readout.")}
    return Readout.from_file(arrays, card["readout"])


def _member(tensors: Mapping[str, Tensor], card: Mapping[str, Any], k: int, unit: float) -> Member:
    card = card["readout"]["networks"] if "readout" in card else card
    forms, plan = [q.form for q in quantities_of(card)], plan_of(card["targets"], card.get("towers"))
    network = make_network(card["targets"], forms, card["architecture"], plan)
    prefix = f"member.{k}.network."
    state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    network.load_state_dict(state)
    network.to(next(t.dtype for n, t in state.items() if n.endswith("centre")))
    network.load_state_dict(state)  # again, after the change of dtype: no rounding on the way
    latent = {n: tensors[f"member.{k}.latent.{n}"].numpy() for n in ("centre", "scale", "points")}
    return Member(network.eval().requires_grad_(False), LatentIndex(**latent, unit=unit))
