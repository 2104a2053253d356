"""Training an ensemble: one member per left-out fold, then calibration on what each has not seen."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.errors import ConfigError
from materia.quantities import Form, Quantity, quantity
from materia.surrogate._assemble import assemble, identity
from materia.surrogate._device import resolve_device, threads
from materia.surrogate._distributed import World, joined
from materia.surrogate._example import Example, target_matrix
from materia.surrogate._folds import grouped_folds, unseen_by
from materia.surrogate._graph import GraphStore
from materia.surrogate._latents import LatentIndex
from materia.surrogate._layout import Layout
from materia.surrogate._network import Network
from materia.surrogate._out_of_fold import of_members
from materia.surrogate._progress import bar
from materia.surrogate._regression import read_out
from materia.surrogate._rounds import Earlier, fold_count, going_on, relative_error
from materia.surrogate._settings import SurrogateSettings
from materia.surrogate._start import adopt_architecture, fresh_network, pretrained_folder, warm_network
from materia.surrogate._surrogate import Member, Surrogate
from materia.surrogate._towers import Towers, plan_of, put_together
from materia.surrogate._training import MemberTask, MetricLogger, train_member
from materia.surrogate._workplace import Workplace


def train(
    examples: Sequence[Example],
    *,
    targets: Sequence[str],
    settings: SurrogateSettings | None = None,
    folder: str | Path,
    seed: int = 0,
    warm_start: str | Path | None = None,
    previous: str | Path | None = None,
    logger: MetricLogger | None = None,
    progress: bool = True,
    declared: Sequence[Quantity] = (),
    about: Mapping[str, Any] | None = None,
    population: Sequence[Crystal] = (),
) -> Surrogate:
    """Train an ensemble and write it to ``folder`` (``weights.safetensors``, ``card.json``).

    Member k learns from every fold of the formulas but fold k (and, with ``left_out_by``, the next), which it predicts
    for the calibration and for the card's validation figures. If an earlier call with the same data, settings and
    seed was cut off, training goes on from its checkpoints.

    Under ``torchrun`` all processes call this alike and train every member together; the batch is shared out,
    process 0 writes, and each returns the same model.

    With ``settings.readout: gaussian_process`` the pretrained networks stay as they are, and a Gaussian process over
    what they make of a structure learns from all examples; for the validation one is fitted without each fold.

    Args:
        examples: labelled structures; labels may be missing. Use the structure as the pool will show it.
        targets: quantities to learn; each needs at least one label.
        settings: defaults are meant for a few hundred structures.
        folder: where the model goes.
        seed: the same inputs and seed give the same weights on the same machine.
        warm_start: model folder to start from instead of ``settings.pretrained``. Its training labels must
            not include those of ``examples``, or the calibration will be too narrow.
        previous: model folder of the round before, trained by this function on fewer labels: with
            ``settings.warm_epochs`` training goes on from it where that can be done (``_rounds``), and every formula
            stays in its fold.
        logger: called with metrics (``member_0_train_loss``...) and the epoch.
        progress: show a progress bar.
        declared: targets that are not registered.
        about: further entries of the card, plain JSON.
        population: unlabelled structures of the kind that is to be predicted, as a campaign's pool: a Gaussian process
            measures by them what is near and what is far. Networks do without.

    Raises:
        ConfigError: a target is neither registered nor declared, towers that do not fit the targets, more devices than
            processes are asked for, or a Gaussian process of a class or tensor, or without pretrained networks.
        DatasetError: nothing to learn from, a label that is not finite, or more than a Gaussian process can take.
        ModelError: the pretrained model cannot be used, or training diverged.
        StorageError: the folder cannot be written.
    """
    settings = settings or SurrogateSettings()
    resolve_device(settings.device)
    with joined(settings.device) as world:
        if settings.devices not in (1, world.size):
            raise ConfigError(
                f"surrogate.devices is {settings.devices}, and {world.size} process(es) were started",
                remedy="start one process a device: `materia train --devices N`, or torchrun",
            )
        own = {q.name: q for q in declared}
        quantities = tuple(own[name] if name in own else quantity(name) for name in targets)
        for name in targets:
            if hasattr(torch.nn.ModuleDict(), name):  # heads are its attributes
                raise ConfigError(f"a head cannot be named {name!r}", remedy="give the quantity a longer name")
        plan_of(targets, settings.towers)
        start = Path(warm_start) if warm_start is not None else None
        task = _Task(examples, quantities, Path(folder), seed, logger, progress, about or {}, world, population)
        _train(task, settings, start, previous)
    return Surrogate.load(folder, device=settings.device, n_threads=settings.threads)


@dataclass(frozen=True)
class _Task:
    """What a training is about, whatever it starts from; the attributes are the arguments of :func:`train`."""

    examples: Sequence[Example]
    quantities: tuple[Quantity, ...]
    folder: Path
    seed: int
    logger: MetricLogger | None
    progress: bool
    about: Mapping[str, Any]
    world: World
    population: Sequence[Crystal]


def _train(task: _Task, settings: SurrogateSettings, start: Path | None, previous: str | Path | None) -> None:
    """Train from the beginning or from the round before, or both ways, and write what errs less."""
    source_folder = pretrained_folder(settings, start)
    source = None if source_folder is None else Surrogate.load(source_folder)
    if source is None or source_folder is None:
        settings = settings.model_copy(update={**settings.architecture(), "trunk_rate": 1.0})
    else:
        settings = adopt_architecture(settings, source, source_folder)
    if settings.readout == "gaussian_process":
        if task.world.leads:
            _read_out(task, settings, source).save(task.folder)
        task.world.wait()
        return
    groups = [e.group for e in task.examples]
    earlier = Earlier.usable(previous, task.quantities, settings)
    kept = {} if earlier is None else earlier.folds
    folds = grouped_folds(groups, fold_count(settings), task.seed, kept)
    made, rounds = None, dict[str, Any](start="beginning", since=len(groups))
    anew, on = task.folder / "training", task.folder / "training-on"
    if earlier is not None:
        made = _fit(task, going_on(settings), earlier.model, folds, on)
        rounds = {"start": "previous", "since": earlier.since}
    if earlier is None or earlier.due(len(groups)):
        new = _fit(task, settings, source, folds, anew)
        if made is not None and new is not None:
            rounds |= {"since": len(groups), "error_over_new": relative_error(made.card, new.card, task.quantities)}
        if rounds.get("error_over_new", math.inf) > 1:
            made, rounds["start"] = new, "beginning"
    if made is not None:
        if settings.warm_epochs is not None:
            dealt = dict(sorted(zip(groups, folds.tolist(), strict=True)))
            made = replace(made, card={**made.card, "rounds": {**rounds, "of": fold_count(settings), "folds": dealt}})
        made.save(task.folder)
        for work in (anew, on):
            shutil.rmtree(work, ignore_errors=True)
    task.world.wait()


def _read_out(task: _Task, settings: SurrogateSettings, source: Surrogate | None) -> Surrogate:
    return read_out(
        task.examples,
        task.quantities,
        settings,
        source,
        task.seed,
        population=task.population,
        about=task.about,
        progress=task.progress,
    )


def _fit(
    task: _Task, settings: SurrogateSettings, source: Surrogate | None, folds: NDArray[np.int64], folder: Path
) -> Surrogate | None:
    """Train an ensemble from ``source``, or from random weights; checkpoints in ``folder``. Of several processes the
    leader gets it."""
    examples, quantities = task.examples, task.quantities
    names = tuple(q.name for q in quantities)
    labels = target_matrix(examples, quantities)
    about = identity(examples, quantities, settings, source, task.seed)
    work = Workplace.open(folder, about, task.world)
    # wide enough for what strain brings into the cutoff (3 standard deviations)
    store = GraphStore.build(
        [e.crystal for e in examples], settings.architecture()["cutoff"] * (1 + 3 * settings.strain)
    )
    lot = _Lot(store, labels, folds, np.unique([e.group for e in examples], return_inverse=True)[1])
    total = settings.members * settings.epochs * len(plan_of(names, settings.towers))
    with threads(settings.threads), bar(task.progress and task.world.leads, "training", total) as report:
        members = tuple(
            _train_one(k, lot, quantities, settings, task.seed, source, work, task.logger, report)
            for k in range(settings.members)
        )
    if not task.world.leads:
        return None
    labelled = np.asarray(~np.isnan(labels).all(axis=1))
    found = of_members(members, examples, labelled, folds, settings, source)
    return assemble(members, examples, labels, quantities, settings, source, found, {**task.about, **about})


@dataclass(frozen=True)
class _Lot:
    """Graphs, labels (n, W), folds (n,) and numbers of the formulas (n,) of all examples."""

    store: GraphStore
    labels: NDArray[np.float64]
    folds: NDArray[np.int64]
    formulas: NDArray[np.int64]


def _train_one(
    k: int,
    lot: _Lot,
    quantities: tuple[Quantity, ...],
    settings: SurrogateSettings,
    seed: int,
    source: Surrogate | None,
    work: Workplace,
    logger: MetricLogger | None,
    report: Callable[[int], None],
) -> Member:
    """Train member k, tower by tower, or take from the workplace what is done already."""
    labelled = np.asarray(~np.isnan(lot.labels).all(axis=1))
    rows = np.flatnonzero(labelled & ~unseen_by(k, lot.folds, labelled, settings.members, settings.left_out_by))
    watch = np.zeros(0, dtype=np.int64)
    if settings.patience is not None:
        drawn = np.random.default_rng(1000 * seed + k).permutation(np.unique(lot.formulas[rows]))
        aside = np.isin(lot.formulas[rows], drawn[: min(max(1, len(drawn) // 10), len(drawn) - 1)])
        watch, rows = rows[aside], rows[~aside]
    names = tuple(q.name for q in quantities)
    columns = dict(zip(names, Layout(tuple(q.form for q in quantities)).columns, strict=True))
    plan, networks = plan_of(names, settings.towers), []
    for i, learned in enumerate(plan):
        labels = np.concatenate([lot.labels[:, columns[name]] for name in learned], axis=1)
        known = ~np.isnan(labels).all(axis=1)
        networks.append(
            _train_network(
                (f"member-{k}" if len(plan) == 1 else f"member-{k}-tower-{i}"),
                replace(lot, labels=labels),
                (rows[known[rows]], watch[known[watch]]),
                [q for q in quantities if q.name in learned],
                settings,
                1000 * seed + k,
                None if source is None else source.members[k % len(source.members)].network,
                work,
                logger,
                _after((k * len(plan) + i) * settings.epochs, report),
            )
        )
    network = put_together(names, networks)
    _, _, latents = Member(network, _NO_INDEX).evaluate(lot.store, resolve_device(settings.device))
    return Member(network, LatentIndex.of(latents[rows]))


def _train_network(
    name: str,
    lot: _Lot,
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
    quantities: Sequence[Quantity],
    settings: SurrogateSettings,
    seed: int,
    source: Network | Towers | None,
    work: Workplace,
    logger: MetricLogger | None,
    report: Callable[[int], None],
) -> Network:
    """Train one network on rows and, to stop early, watched rows (``parts``); or take it from the workplace."""
    layout = Layout(tuple(q.form for q in quantities))
    rows, watch = parts
    network = fresh_network([q.name for q in quantities], lot.labels[rows], settings, seed, layout.forms)
    if source is not None:
        network = warm_network(network, source)
    done = work.finished(name)
    if done is not None:
        network.to(done["centre"].dtype).load_state_dict(done)
        report(settings.epochs)
        return network.eval().requires_grad_(False)

    def log(metrics: Any, epoch: int) -> None:
        if logger is not None:
            logger({f"{name.replace('-', '_')}_{key}": value for key, value in metrics.items()}, epoch)

    lower: list[float | None] = [None] * layout.width
    for j, q in zip(layout.first, quantities, strict=True):
        lower[j] = q.lower if q.form is Form.SCALAR else None
    task = MemberTask(lot.store, lot.labels, lower, rows.tolist(), watch.tolist(), seed)
    network = train_member(
        network, task, settings, checkpoint=work.checkpoint(name), logger=log, progress=report, world=work.world
    )
    work.finish(name, network)
    return network


def _after(done: int, report: Callable[[int], None]) -> Callable[[int], None]:
    """Reports epochs beyond those that are done."""
    return lambda more: report(done + more)


_NO_INDEX = LatentIndex(np.zeros(1, np.float32), np.ones(1, np.float32), np.zeros((1, 1), np.float32), 1.0)
