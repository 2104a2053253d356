"""The trained members become a surrogate: calibrated on what they have not seen, with a card of how good it is."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from materia._version import __version__
from materia.quantities import Form, Quantity
from materia.surrogate._calibration import Calibration
from materia.surrogate._device import resolve_device, threads
from materia.surrogate._drift import BEYOND, unseen_distances
from materia.surrogate._evidence import Evidence
from materia.surrogate._example import Example
from materia.surrogate._folds import unseen_by
from materia.surrogate._graph import GraphStore
from materia.surrogate._layout import from_figure
from materia.surrogate._probability import ProbabilityCalibration
from materia.surrogate._settings import SurrogateSettings
from materia.surrogate._split import new_type_error, split_report, structure_types
from materia.surrogate._start import origin_head
from materia.surrogate._strata import by_stratum, strata
from materia.surrogate._surrogate import Member, Surrogate
from materia.surrogate._towers import plan_of
from materia.surrogate._validation import validate

_DOMAIN_MARGIN = 1.5  # times the 99 % quantile of out-of-fold distances


def assemble(
    members: tuple[Member, ...],
    examples: Sequence[Example],
    labels: NDArray[np.float64],
    folds: NDArray[np.int64],
    quantities: tuple[Quantity, ...],
    settings: SurrogateSettings,
    source: Surrogate | None,
    identity: dict[str, Any],
) -> Surrogate:
    """Calibrate on out-of-fold predictions and write the card.

    Args:
        members: trained, in order; which folds each has not seen follows from its number and the settings.
        examples: n structures.
        labels: (n, W) learned columns, NaN where missing.
        folds: (n,) of the examples.
        quantities: (T) the targets.
        settings: of the training.
        source: the model that training started from.
        identity: entries of the card that tell this training from others.
    """
    names = tuple(q.name for q in quantities)
    layout = members[0].network.layout
    known = ~np.isnan(labels[:, layout.first])
    labelled = np.asarray(known.any(axis=1))
    blind = np.stack([unseen_by(k, folds, labelled, len(members), settings.left_out_by) for k in range(len(members))])
    elements = set() if source is None else set(source.card["elements"])
    rows, evidence, unseen = _out_of_fold(members, examples, blind, settings, elements)
    types = structure_types(examples)
    split, new_type = split_report(examples, types, blind, rows)
    divisions = {name: kinds[rows] for name, kinds in strata(examples, types).items()}
    observed = np.full((len(labels), len(layout)), np.nan)
    for j in range(len(layout)):
        observed[known[:, j], j] = layout.figure(labels[known[:, j]], j)
    reach = float(np.quantile(evidence.distance, 0.99)) * _DOMAIN_MARGIN if len(rows) >= 20 else math.inf
    card: dict[str, Any] = {
        **identity,
        "architecture": settings.architecture(),
        **({} if settings.towers is None else {"towers": plan_of(names, settings.towers)}),
        "n_train": len(labels),
        "n_labels": {q: int(known[:, j].sum()) for j, q in enumerate(names)},
        "ranges": {q.name: _range(q, observed[known[:, j], j], source) for j, q in enumerate(quantities)},
        "elements": sorted({int(z) for e in examples for z in e.crystal.numbers} | elements),
        "unseen": unseen,
        "split": split,
        "domain_distance": reach if math.isfinite(reach) else 1e9,
        "n_parameters": sum(p.numel() for p in members[0].network.parameters()),
        "versions": {"materia": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    bounded = Surrogate(members, {}, card, settings.device, settings.threads).bounded(evidence.figures)
    calibration: dict[str, Calibration | ProbabilityCalibration] = {}
    validation: dict[str, Any] = {}
    parity: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    groups = np.array([e.group for e in examples])
    for j, target in enumerate(quantities):
        use = known[rows, j]
        part, here = layout.columns[j], rows[use]
        fallback = float(np.nanstd(observed[:, j])) or float(members[0].network.scale[part.start])
        calibration[target.name], validation[target.name], parity[target.name] = validate(
            target,
            observed[here, j],
            bounded[use, j],
            evidence.of_rows(use),
            j,
            groups[here].tolist(),
            fallback,
            (labels[here, part], evidence.columns[use][:, part]),
            len(members),
        )
        validation[target.name] |= new_type_error(parity[target.name], new_type[use])
        known_of = {name: kinds[use] for name, kinds in divisions.items()}
        figures[target.name] = by_stratum(parity[target.name], known_of, target.form)
        parity[target.name]["group"] = groups[here].tolist()
    card |= {"validation": validation, "strata": figures, "parity": parity}
    return Surrogate(members, calibration, card, settings.device, settings.threads)


def _out_of_fold(
    members: Sequence[Member],
    examples: Sequence[Example],
    blind: NDArray[np.bool_],
    settings: SurrogateSettings,
    elements: set[int],
) -> tuple[NDArray[np.int64], Evidence, list[dict[str, Any]]]:
    """What the members say of examples they have not seen.

    Args:
        blind: (M, n) which member has not seen which example.
        elements: those that training started with.

    Returns:
        Numbers of the examples that some member has not seen, ascending; what those members say of them; and of every
        member the distances of what it has not seen, beyond all where there is an element it has never met.
    """
    store = GraphStore.build([e.crystal for e in examples], settings.architecture()["cutoff"])
    contents = [frozenset(int(z) for z in e.crystal.numbers) for e in examples]
    layout, device = members[0].network.layout, resolve_device(settings.device)
    n, width = len(examples), members[0].network.layout.width
    columns, spread = np.full((len(members), n, width), np.nan), np.full((len(members), n, width), np.nan)
    distance = np.full((len(members), n), np.nan)
    unseen = []
    with threads(settings.threads):
        for k, member in enumerate(members):
            out = np.flatnonzero(blind[k])
            if len(out):
                m, s, latents = member.evaluate(store, device)
                columns[k, out], spread[k, out] = m[out], s[out]
                distance[k, out] = member.index.distance(latents[out])
            met = elements.union(*(c for c, unknown in zip(contents, blind[k], strict=True) if not unknown))
            remote = [distance[k, i] if contents[i] <= met else BEYOND for i in out.tolist()]
            unseen.append(unseen_distances(remote, [examples[i].group for i in out.tolist()]))
    rows, parts = np.flatnonzero(blind.any(axis=0)), []
    for pattern in np.unique(blind[:, rows], axis=1).T:  # rows that the same members have not seen, together
        here, who = rows[(blind[:, rows] == pattern[:, None]).all(axis=0)], np.flatnonzero(pattern)
        parts.append((here, Evidence.of(columns[who][:, here], spread[who][:, here], distance[who][:, here], layout)))
    together = Evidence.joined([part for _, part in parts], layout)
    order = np.argsort(np.concatenate([here for here, _ in parts])) if parts else np.zeros(0, np.int64)
    return rows, together.of_rows(order), unseen


def _range(target: Quantity, observed: NDArray[np.float64], source: Surrogate | None) -> list[float]:
    """Least and greatest label in the unit (of tensors of their mean eigenvalues), the pretrained head's included."""
    values = observed if target.form is Form.CLASS else from_figure(observed, target.form)
    low, high = float(values.min()), float(values.max())
    if source is not None:
        origin = origin_head(target.name, target.form, source.targets, source.layout.forms)
        if origin is not None:
            theirs = source.card["ranges"][source.targets[origin]]
            low, high = min(low, theirs[0]), max(high, theirs[1])
    return [low, high]
