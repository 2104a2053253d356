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
from materia.quantities import Form, Quantity, quantity_record
from materia.surrogate._calibration import Calibration
from materia.surrogate._example import Example, data_digest
from materia.surrogate._layout import Layout, from_figure
from materia.surrogate._out_of_fold import OutOfFold
from materia.surrogate._probability import ProbabilityCalibration
from materia.surrogate._readout import Readout
from materia.surrogate._settings import SurrogateSettings
from materia.surrogate._split import new_type_error, split_report, structure_types
from materia.surrogate._start import origin_head
from materia.surrogate._strata import by_stratum, strata
from materia.surrogate._surrogate import Member, Surrogate
from materia.surrogate._towers import plan_of
from materia.surrogate._validation import validate

_DOMAIN_MARGIN = 1.5  # times the 99 % quantile of out-of-fold distances


def identity(
    examples: Sequence[Example],
    quantities: Sequence[Quantity],
    settings: SurrogateSettings,
    source: Surrogate | None,
    seed: int,
) -> dict[str, Any]:
    """The entries of a card that tell one training from another: data, targets, settings, seed and start."""
    names = [q.name for q in quantities]
    return {
        "data_digest": data_digest(examples, names),
        "targets": names,
        "quantities": {q.name: quantity_record(q) for q in quantities},
        "seed": seed,
        "settings": settings.model_dump(),
        "pretrained_sha256": None if source is None else source.card["weights_sha256"],
    }


def assemble(
    members: tuple[Member, ...],
    examples: Sequence[Example],
    labels: NDArray[np.float64],
    quantities: tuple[Quantity, ...],
    settings: SurrogateSettings,
    source: Surrogate | None,
    found: OutOfFold,
    about: dict[str, Any],
    readout: Readout | None = None,
) -> Surrogate:
    """Calibrate on out-of-fold predictions and write the card.

    Args:
        members: trained.
        examples: n structures.
        labels: (n, W) learned columns, NaN where missing.
        quantities: (T) the targets.
        settings: of the training.
        source: the model that training started from.
        found: what is predicted of examples not learned from.
        about: first entries of the card, those among them that tell this training from others.
        readout: what reads the members out, where they do not predict the targets themselves.
    """
    names = tuple(q.name for q in quantities)
    layout = Layout(tuple(q.form for q in quantities))
    unit = np.ones(layout.width) if readout is not None else members[0].network.scale.double().numpy()
    known = ~np.isnan(labels[:, layout.first])
    elements = set() if source is None else set(source.card["elements"])
    rows, evidence = found.rows, found.evidence
    types = structure_types(examples)
    split, new_type = split_report(examples, types, found.blind, rows)
    divisions = {name: kinds[rows] for name, kinds in strata(examples, types).items()}
    observed = np.full((len(labels), len(layout)), np.nan)
    for j in range(len(layout)):
        observed[known[:, j], j] = layout.figure(labels[known[:, j]], j)
    reach = float(np.quantile(evidence.distance, 0.99)) * _DOMAIN_MARGIN if len(rows) >= 20 else math.inf
    card: dict[str, Any] = {
        **about,
        "architecture": settings.architecture(),
        **({} if settings.towers is None else {"towers": plan_of(names, settings.towers)}),
        "n_train": len(labels),
        "n_labels": {q: int(known[:, j].sum()) for j, q in enumerate(names)},
        "ranges": {q.name: _range(q, observed[known[:, j], j], source) for j, q in enumerate(quantities)},
        "elements": sorted({int(z) for e in examples for z in e.crystal.numbers} | elements),
        "unseen": found.unseen,
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
        fallback = float(np.nanstd(observed[:, j])) or float(unit[part.start])
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
            sure=readout is not None,
        )
        validation[target.name] |= new_type_error(parity[target.name], new_type[use])
        known_of = {name: kinds[use] for name, kinds in divisions.items()}
        figures[target.name] = by_stratum(parity[target.name], known_of, target.form)
        parity[target.name]["group"] = groups[here].tolist()
    card |= {"validation": validation, "strata": figures, "parity": parity}
    return Surrogate(members, calibration, card, settings.device, settings.threads, readout)


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
