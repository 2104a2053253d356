"""Where a network's weights begin: at random, or from a trained model's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from materia import quantities as q
from materia.errors import ModelError
from materia.quantities import Form
from materia.resources import resource
from materia.surrogate._elements import element_features
from materia.surrogate._files import read_card
from materia.surrogate._network import Network
from materia.surrogate._settings import DEFAULT_ARCHITECTURE, SurrogateSettings
from materia.surrogate._surrogate import Surrogate
from materia.surrogate._tensors import COMPONENTS
from materia.surrogate._towers import Towers

# A head for a quantity the pretrained model does not know begins as that of a near relative: same physics
# up to energy corrections, +U and the choice of pseudopotentials.
RELATIVES: dict[str, tuple[str, ...]] = {
    q.FORMATION_ENERGY: (q.FORMATION_ENERGY_MP,),
    q.FORMATION_ENERGY_MP: (q.FORMATION_ENERGY,),
    q.GAP_PBE: (q.GAP_MP,),
    q.GAP_DIRECT_PBE: (q.GAP_PBE, q.GAP_MP),
    q.GAP_MP: (q.GAP_PBE,),
    q.GAP_HSE06: (q.GAP_PBE, q.GAP_MP),
}


def origin_of(name: str, known: Sequence[str]) -> str | None:
    """The head a quantity begins as: its own, else that of the nearest relative known, else none."""
    return next((r for r in (name, *RELATIVES.get(name, ())) if r in known), None)


def origin_head(name: str, form: Form, targets: Sequence[str], forms: Sequence[Form]) -> int | None:
    """Number of the head, among those of a pretrained model, that a quantity begins as: one of its own form."""
    same = [target for target, other in zip(targets, forms, strict=True) if other is form]
    origin = origin_of(name, same)
    return None if origin is None else list(targets).index(origin)


def pretrained_folder(settings: SurrogateSettings, warm_start: Path | None) -> Path | None:
    """The model to start from: ``warm_start``, else ``settings.pretrained``, else none."""
    if warm_start is not None:
        return Path(warm_start)
    if settings.pretrained is None:
        return None
    return resource("data/weights/base") if settings.pretrained == "base" else Path(settings.pretrained)


def pretrained_card(settings: SurrogateSettings) -> dict[str, Any]:
    """The card of the weights that ``settings.pretrained`` names; empty where training starts at random.

    Raises:
        ModelError: there is no such model.
    """
    folder = pretrained_folder(settings, None)
    return {} if folder is None else read_card(folder)


def adopt_architecture(settings: SurrogateSettings, model: Surrogate, folder: Path) -> SurrogateSettings:
    """The settings with the pretrained model's architecture.

    Raises:
        ModelError: the settings ask for another one.
    """
    theirs = {name: model.card["architecture"][name] for name in DEFAULT_ARCHITECTURE}
    for name, value in theirs.items():
        if getattr(settings, name) not in (None, value):
            raise ModelError(
                f"surrogate.{name} is {getattr(settings, name)}, but the pretrained weights have {value}",
                where=folder,
                remedy=f"leave surrogate.{name} out, or set surrogate.pretrained to null",
            )
    return settings.model_copy(update=theirs)


def fresh_network(
    targets: Sequence[str],
    labels: NDArray[np.float64],
    settings: SurrogateSettings,
    seed: int,
    forms: Sequence[str] | None = None,
) -> Network:
    """Random weights by seed; columns standardised by mean and spread of their labels (n, W).

    A tensor's l = 2 components share one scale and have no centre, or they would not turn with the crystal. A class
    is not standardised; its head begins at the share of yes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(targets, **settings.architecture(), forms=forms)
    network.elements.table.copy_(element_features())
    layout = network.layout
    for name, form, j in zip(network.targets, layout.forms, layout.first, strict=True):
        rows = ~np.isnan(labels[:, j])
        known = labels[rows, j]
        if form is Form.CLASS:
            share = (float(known.sum()) + 1) / (len(known) + 2)
            network.get_submodule(f"heads.{name}.2").bias.data.fill_(math.log(share / (1 - share)))  # type: ignore[operator]
            continue
        spread = float(known.std()) if len(known) > 1 else 0.0
        network.centre[j] = float(known.mean()) if len(known) else 0.0
        network.scale[j] = spread if spread > 1e-6 else 1.0
        if form is Form.TENSOR:
            lengths = np.linalg.norm(labels[rows, j + 1 : j + COMPONENTS], axis=1)
            typical = float(np.sqrt((lengths**2).mean())) if len(known) else 0.0
            network.scale[j + 1 : j + COMPONENTS] = typical if typical > 1e-6 else 1.0
    return network


def warm_network(fresh: Network, trained: Network | Towers) -> Network:
    """``fresh`` with the trunk of a trained network and its heads where that knows the quantity or a relative.

    Of several towers that one is taken that knows most of the quantities, the first of equals.

    Raises:
        ModelError: the trunk has another shape.
    """
    source = trained if isinstance(trained, Network) else max(trained.networks, key=lambda one: _heads_for(fresh, one))
    state = source.state_dict()
    trunk = {n: t for n, t in state.items() if not n.startswith("heads.") and n not in ("centre", "scale")}
    missing, unexpected = fresh.load_state_dict(trunk, strict=False)
    if unexpected or any(not n.startswith("heads.") and n not in ("centre", "scale") for n in missing):
        raise ModelError("the pretrained trunk does not fit the network", remedy="use its own architecture")
    for name, form, here in zip(fresh.targets, fresh.layout.forms, fresh.layout.columns, strict=True):
        origin = origin_head(name, form, source.targets, source.layout.forms)
        if origin is not None:
            there = source.layout.columns[origin]
            fresh.heads[name].load_state_dict(source.heads[source.targets[origin]].state_dict())
            fresh.centre[here], fresh.scale[here] = source.centre[there], source.scale[there]
    return fresh


def _heads_for(fresh: Network, source: Network) -> int:
    """How many heads of ``fresh`` can begin as one of the source's."""
    heads = zip(fresh.targets, fresh.layout.forms, strict=True)
    return sum(origin_head(name, form, source.targets, source.layout.forms) is not None for name, form in heads)
