"""Making a surrogate of a Gaussian process over trained networks, validated on formulas left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.errors import ConfigError, DatasetError
from materia.quantities import Form, Kind, Quantity
from materia.surrogate._assemble import assemble, identity
from materia.surrogate._device import resolve_device, threads
from materia.surrogate._drift import BEYOND, unseen_distances
from materia.surrogate._example import Example, target_matrix
from materia.surrogate._folds import grouped_folds
from materia.surrogate._latents import LatentIndex
from materia.surrogate._out_of_fold import OutOfFold, never_met
from materia.surrogate._progress import bar
from materia.surrogate._readout import Readout, Told
from materia.surrogate._settings import SurrogateSettings
from materia.surrogate._surrogate import Member, Surrogate

FOLDS = 10
MOST = 5000  # labelled structures: their covariance takes 200 MB
POPULATION = 2000  # structures of those that are to be predicted, drawn to see how they vary

Floats = NDArray[np.float64]


def told_of(source: Surrogate, crystals: Sequence[Crystal]) -> tuple[Told, list[NDArray[np.float32]]]:
    """What a process over the networks of ``source`` is told of n crystals, and their latents (n, C) in each."""
    store, device = source.prepare(crystals), resolve_device(source.device)
    with threads(source.n_threads):
        results = [member.evaluate(store, device) for member in source.members]
    layout = source.members[0].network.layout
    figures = layout.figures(np.mean([columns for columns, _, _ in results], axis=0))
    latents = [each for _, _, each in results]
    return Told.of(figures, np.concatenate(latents, axis=1), store), latents


def read_out(
    examples: Sequence[Example],
    quantities: tuple[Quantity, ...],
    settings: SurrogateSettings,
    source: Surrogate | None,
    seed: int,
    *,
    population: Sequence[Crystal] = (),
    about: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Surrogate:
    """Fit one Gaussian process a quantity to the examples, over the networks of ``source``, which stay as they are.

    Arguments as those of :func:`materia.surrogate.train`.

    Raises:
        ConfigError: no pretrained networks, or a class or tensor among the quantities.
        DatasetError: nothing to learn from, or more labelled structures than :data:`MOST`.
    """
    if source is None:
        raise ConfigError(
            "readout: gaussian_process reads out trained networks, and training is to start without any",
            remedy="start from the shipped weights (base) or a model folder, or take readout: network",
        )
    if other := [f"{q.name} ({q.form})" for q in quantities if q.form not in (Form.SCALAR, Form.LOG)]:
        raise ConfigError(
            f"surrogate.readout is gaussian_process, which learns numbers: not {', '.join(other)}",
            remedy="set surrogate.readout: network",
        )
    labels = target_matrix(examples, quantities)
    if len(examples) > MOST:
        raise DatasetError(
            f"{len(examples)} labelled structures are too many for a Gaussian process (at most {MOST})",
            remedy="set surrogate.readout: network",
        )
    folds = grouped_folds([e.group for e in examples], max(2, settings.folds or FOLDS), seed)
    source = replace(source, device=settings.device, n_threads=settings.threads)
    with bar(progress, "fitting", int(folds.max()) + 2) as report:
        told, latents = told_of(source, [e.crystal for e in examples])
        drawn = np.random.default_rng(seed).permutation(len(population))[:POPULATION]
        others, _ = told_of(source, [population[i] for i in np.sort(drawn)])
        scales = Told(np.vstack([told.raw, others.raw]), told.ends).scales()
        bounds = [q.lower if q.form is Form.SCALAR and q.kind is not Kind.EXTENSIVE else None for q in quantities]
        whole = Readout.fitted(scales, told, labels, seed, bounds, settings.trees)
        report(1)
        found = _left_out(examples, folds, told, latents, labels, scales, seed, source, settings.trees, report)
    members = tuple(
        Member(member.network, LatentIndex.of(points)) for member, points in zip(source.members, latents, strict=True)
    )
    card = {
        **(about or {}),
        **identity(examples, quantities, settings, source, seed),
        "readout": {"networks": source.networks_card, **whole.card()},
    }
    return assemble(members, examples, labels, quantities, settings, source, found, card, whole)


def _left_out(
    examples: Sequence[Example],
    folds: NDArray[np.int64],
    told: Told,
    latents: Sequence[NDArray[np.float32]],
    labels: Floats,
    scales: tuple[Floats, Floats],
    seed: int,
    source: Surrogate,
    trees: int,
    report: Callable[[int], None],
) -> OutOfFold:
    """What processes say of each fold that are fitted without it, hyperparameters and all."""
    n, groups = len(examples), np.array([e.group for e in examples])
    labelled = ~np.isnan(labels).all(axis=1)
    blind = np.array([folds == k for k in sorted(set(folds.tolist()))])
    blind = blind[[bool((labelled & ~out).any()) for out in blind]]  # or nothing would be left to learn from
    distance = np.full((len(latents), n), np.nan)
    mean, std = np.full_like(labels, np.nan), np.full_like(labels, np.nan)
    strange = np.zeros(n, dtype=bool)
    for k, out in enumerate(blind):
        rest = Told(told.raw[~out], told.ends)
        process = Readout.fitted(scales, rest, labels[~out], seed, trees=trees)
        mean[out], std[out] = process.read(told.raw[out])
        strange[out] = never_met(examples, ~out, source)[out]
        for m, points in enumerate(latents):
            distance[m, out] = LatentIndex.of(points[~out]).distance(points[out])
        report(2 + k)
    rows = np.flatnonzero(blind.any(axis=0)) if len(blind) else np.zeros(0, np.int64)
    remote = np.where(strange, BEYOND, distance)[:, rows]
    unseen = [unseen_distances(each, groups[rows].tolist()) for each in remote]
    evidence = Readout.said(mean[rows], std[rows], distance[:, rows].mean(axis=0))
    return OutOfFold(blind.reshape(-1, n), rows, evidence, unseen)
