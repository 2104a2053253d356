"""Training one network with Lightning."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from materia.errors import ModelError
from materia.surrogate._augment import Part, perturb
from materia.surrogate._compiled import compile_network
from materia.surrogate._device import repeatable, resolve_device
from materia.surrogate._distributed import World
from materia.surrogate._graph import Batch, GraphStore
from materia.surrogate._loss import masked_loss
from materia.surrogate._network import Network
from materia.surrogate._sampling import plain_loader, training_loader
from materia.surrogate._settings import SurrogateSettings

MetricLogger = Callable[[Mapping[str, float], int], None]


@dataclass(frozen=True)
class MemberTask:
    """What one member learns from.

    Attributes:
        store: graphs of all examples.
        labels: (n, W) columns to learn (``_layout``), NaN where missing.
        lower: (W) physical lower bounds of the columns; None where there is none.
        rows: examples this member learns from.
        watch: examples that decide when to stop early; not among ``rows``.
        seed: of everything random in this member.
    """

    store: GraphStore
    labels: NDArray[np.float64]
    lower: Sequence[float | None]
    rows: Sequence[int]
    watch: Sequence[int]
    seed: int


class TrainingModule(pl.LightningModule):  # type: ignore[misc]
    """A network under training, with its running average, which is what is kept."""

    def __init__(self, network: Network, task: MemberTask, settings: SurrogateSettings, world: World) -> None:
        super().__init__()
        self.network = network
        self.average = AveragedModel(network, multi_avg_fn=_averaging(settings.ema), use_buffers=False)
        self.average.requires_grad_(False)  # it follows; nothing is to wait for its gradients
        self.settings, self.task, self.world = settings, task, world
        centre, scale = network.centre.double(), network.scale.double()
        labels = torch.from_numpy(task.labels)
        lower = torch.tensor([-math.inf if b is None else b for b in task.lower], dtype=torch.float64)
        draw = torch.Generator().manual_seed(7 * task.seed + 1)
        bag = torch.ones(len(labels), len(network.layout), settings.architecture()["replicas"], dtype=torch.float64)
        if bag.shape[-1] > 1:  # a single replica has none to differ from, and would only learn from fewer labels
            bag = torch.poisson(bag, generator=draw)
        for name, value in {
            "labels": (labels - centre) / scale,
            "lower": (lower - centre) / scale,
            # half a bootstrap: replicas differ, none loses a label altogether
            "bag": (0.5 + 0.5 * bag) * _balance(task, network, settings.balance)[:, None],
        }.items():
            self.register_buffer(name, value.to(network.centre.dtype), persistent=False)

    def training_step(self, item: tuple[Batch, list[int]], step: int) -> Tensor:
        batch, rows = item
        draw = torch.Generator().manual_seed(1_000_003 * self.task.seed + self.global_step)
        part, count = None, None
        if self.world.together:
            part, count = self._share(rows)
        if part is None or len(batch) == part.here.stop - part.here.start:
            batch = perturb(batch, strain=self.settings.strain, rattle=self.settings.rattle, generator=draw, part=part)
        predicted, _ = self.network(batch)
        loss = self._loss(predicted, batch.index, self.bag[batch.index], count)
        if part is not None and part.here.start == part.here.stop:
            loss = 0.0 * loss  # fewer structures than processes: this one only keeps step
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(rows), sync_dist=self.world.together)
        return loss

    def _share(self, rows: list[int]) -> tuple[Part, float]:
        """This process' part of the batch, and what its errors are divided by.

        The processes' gradients are averaged. Dividing by the known labels of the whole batch over the number of
        processes makes the average the gradient of the whole batch, however the labels are spread.
        """
        whole = torch.as_tensor(rows)
        part = Part(self.task.store.atoms.diff()[whole], self.world.share(len(rows)))
        known = int((~np.isnan(self.task.labels[rows][:, self.network.layout.first])).sum()) * self.bag.shape[-1]
        return part, max(1, known) / self.world.size

    def _loss(self, predicted: Tensor, index: Tensor, weight: Tensor, count: float | None) -> Tensor:
        return masked_loss(predicted, self.labels[index], self.lower, weight, self.network.layout, count)

    def validation_step(self, batch: Batch, step: int) -> None:
        predicted, _ = self.average(batch)
        loss = self._loss(predicted, batch.index, torch.ones_like(self.bag[batch.index]), None)
        self.log("watch_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch))

    def on_train_batch_end(self, outputs: Any, batch: Batch, step: int) -> None:
        self.average.update_parameters(self.network)

    def configure_optimizers(self) -> dict[str, Any]:
        s = self.settings
        heads = list(self.network.heads.parameters())
        own = {id(p) for p in heads}
        trunk = [p for p in self.network.parameters() if id(p) not in own]
        groups: list[dict[str, Any]] = [{"params": trunk, "lr": s.learning_rate * s.trunk_rate}, {"params": heads}]
        optimizer = torch.optim.AdamW(groups, lr=s.learning_rate, weight_decay=s.weight_decay)
        total = max(1, int(self.trainer.estimated_stepping_batches))

        def rate(step: int) -> float:
            done = step / total
            rising = min(1.0, (step + 1) / max(1.0, s.warmup * total))
            return rising * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Watcher(Callback):  # type: ignore[misc]
    """Checkpoints by rename, metrics to a logger, progress to a callback; of several processes, in the leader."""

    def __init__(
        self,
        checkpoint: Path | None,
        every: int,
        logger: MetricLogger | None,
        progress: Callable[[int], None] | None,
        world: World,
    ) -> None:
        self.checkpoint, self.every, self.world = checkpoint, every, world
        self.logger, self.progress = (logger, progress) if world.leads else (None, None)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.world.together:
            # Lightning's handler starts a collective of its own amid those of the training, whatever the
            # others are at. The last checkpoint is what counts, so processes that train together just end.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if self.checkpoint is not None and epoch % self.every == 0:
            partial = self.checkpoint.with_suffix(".partial")
            trainer.save_checkpoint(partial)  # all take part, the leader writes
            if self.world.leads:
                partial.replace(self.checkpoint)
        if self.logger is not None:
            self.logger({k: float(v) for k, v in trainer.callback_metrics.items()}, epoch)
        if self.progress is not None:
            self.progress(epoch)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.progress is not None:
            self.progress(module.settings.epochs)


def train_member(
    network: Network,
    task: MemberTask,
    settings: SurrogateSettings,
    *,
    checkpoint: Path | None = None,
    logger: MetricLogger | None = None,
    progress: Callable[[int], None] | None = None,
    world: World | None = None,
) -> Network:
    """Train a network and return it with the averaged weights.

    Args:
        network: starting point, on the CPU; its ``centre`` and ``scale`` standardise the labels.
        task: graphs, labels and rows.
        settings: budget, rates, device.
        checkpoint: file to write every few epochs; training goes on from it where it exists.
        logger: called with metrics and the epoch.
        progress: called with the number of epochs done.
        world: the processes that train it together; each gets the same network.

    Raises:
        ModelError: the loss is not finite at the end, or the processes disagree.
    """
    world = world or World()
    module = TrainingModule(network, task, settings, world)
    if settings.precision == "64-true":
        module.double()  # Lightning would do it only after it has read a checkpoint into single precision
    if settings.compile:
        compile_network(network, resolve_device(settings.device))
    # on a GPU batches are cut there: for a small network, putting them together costs a CPU as much as the GPU's work
    store = task.store.to(resolve_device(settings.device))
    callbacks: list[Callback] = [_Watcher(checkpoint, settings.checkpoint_every, logger, progress, world)]
    validation = None
    if settings.patience is not None and len(task.watch):
        validation = plain_loader(store, task.watch, 64)
        callbacks.append(EarlyStopping("watch_loss", patience=settings.patience, check_finite=True))
    with _quiet():
        trainer = pl.Trainer(
            accelerator=settings.device,
            devices=world.local_size,
            num_nodes=world.size // world.local_size,
            strategy=DDPStrategy(broadcast_buffers=False) if world.together else "auto",
            use_distributed_sampler=False,  # ours shares each batch out
            precision=settings.precision,
            max_epochs=settings.epochs,
            gradient_clip_val=1.0,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # torchrun or nothing: a Slurm job around this is not Lightning's business
            plugins=[TorchElasticEnvironment() if world.together else LightningEnvironment()],
        )
        resume = {"ckpt_path": checkpoint, "weights_only": True} if world.told(_exists(checkpoint)) else {}
        loader = training_loader(store, task.rows, settings.batch_size, task.seed, world)
        try:
            with repeatable(resolve_device(settings.device)):
                trainer.fit(module, loader, validation, **resume)
        except SIGTERMException:  # Lightning ends the epoch, then would leave with exit status 0
            signal.raise_signal(signal.SIGTERM)  # its handler is gone: the process ends as asked
            raise
    trained = cast(Network, module.average.module).to("cpu")
    if not all(torch.isfinite(p).all() for p in trained.parameters()):
        raise ModelError(
            "training diverged: a weight is not finite", remedy="lower surrogate.learning_rate or check the labels"
        )
    world.require_same(trained)
    return trained.eval().requires_grad_(False)


def _balance(task: MemberTask, network: Network, exponent: float) -> Tensor:
    """(T) weight of a label of each quantity: its number of labels to the power of ``-exponent``; 1 on average."""
    known = ~np.isnan(task.labels[list(task.rows)][:, network.layout.first])
    number = torch.from_numpy(known.sum(0)).double().clamp(min=1)
    weight = number**-exponent
    return weight * (number.sum() / (number * weight).sum())


def _averaging(decay: float) -> Callable[..., None]:
    """Exponential average that starts fast, so that the first weights are soon forgotten."""

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        k = float(count)
        keep = min(decay, (1 + k) / (10 + k))
        with torch.no_grad():
            for a, c in zip(averaged, current, strict=True):
                a.lerp_(c.to(a.dtype), 1 - keep)

    return update


def _exists(path: Path | None) -> bool:
    return path is not None and path.is_file()


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's banners and tips are not for our users."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [log.level for log in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        for log in loggers:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(loggers, levels, strict=True):
                log.setLevel(level)
