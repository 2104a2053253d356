"""Several networks side by side as one: quantities that learn worse in company get a network of their own.

Quantities that share a network teach each other, or get in each other's way. Formation energies of a network that also
learns gaps err half as much again as those of one that learns nothing else, while gaps gain from energies learned
beside them (experiments/benchmarks/properties). So a quantity may be learned by several networks; the first that learns
it predicts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from materia.errors import ConfigError
from materia.quantities import Form
from materia.surrogate._graph import Batch
from materia.surrogate._layout import Layout
from materia.surrogate._network import Network

Plan = tuple[tuple[str, ...], ...]  # the quantities that each network learns


class Towers(nn.Module):
    """Networks that see the same crystals, with the interface of one :class:`Network`.

    Args:
        targets: names of the quantities, in order.
        networks: at least one; together they learn all of them.
    """

    def __init__(self, targets: Sequence[str], networks: Sequence[Network]) -> None:
        super().__init__()
        self.targets = tuple(targets)
        self.towers = nn.ModuleList(networks)
        plan = [network.targets for network in networks]
        homes = [next(i for i, learned in enumerate(plan) if name in learned) for name in self.targets]
        places = [(i, networks[i].targets.index(name)) for name, i in zip(self.targets, homes, strict=True)]
        self.layout = Layout(tuple(networks[i].layout.forms[j] for i, j in places))
        self.source = tuple((i, networks[i].layout.columns[j]) for i, j in places)

    @property
    def networks(self) -> tuple[Network, ...]:
        """They."""
        return tuple(self.towers)  # type: ignore[arg-type]

    @property
    def cutoff(self) -> float:
        """The longest of theirs, Å."""
        return max(network.cutoff for network in self.networks)

    @property
    def centre(self) -> Tensor:
        """(W,) what is added to the scaled columns."""
        return torch.cat([self.networks[i].centre[part] for i, part in self.source])

    @property
    def scale(self) -> Tensor:
        """(W,) what standardised columns are multiplied by."""
        return torch.cat([self.networks[i].scale[part] for i, part in self.source])

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Standardised columns (B, W, R) of each replica, and latent vectors (B, C of all together)."""
        columns, latents = zip(*(network(batch) for network in self.networks), strict=True)
        return torch.cat([columns[i][:, part] for i, part in self.source], dim=1), torch.cat(latents, dim=1)

    def physical(self, standardised: Tensor) -> Tensor:
        """(B, W, ...) standardised columns as they were before: numbers, logarithms, logits."""
        shape = (1, -1) + (1,) * (standardised.dim() - 2)
        return standardised * self.scale.view(shape) + self.centre.view(shape)


def plan_of(targets: Sequence[str], towers: Sequence[Sequence[str]] | None) -> Plan:
    """What each network is to learn; one learns all where nothing is said.

    Raises:
        ConfigError: a name that is no target, a target that none learns, or a network without any.
    """
    if towers is None:
        return (tuple(targets),)
    named = [name for tower in towers for name in tower]
    strange, without = sorted(set(named) - set(targets)), [name for name in targets if name not in named]
    if strange or without or not all(towers):
        wrong = f"{', '.join(strange)} is no target" if strange else f"no network learns {', '.join(without)}"
        raise ConfigError(
            f"surrogate.towers: {wrong if strange or without else 'one of them learns nothing'}",
            remedy=f"list for each network some of: {', '.join(targets)}",
        )
    return tuple(tuple(name for name in targets if name in tower) for tower in towers)


def put_together(targets: Sequence[str], networks: Sequence[Network]) -> Network | Towers:
    """The networks as one; a single one that learns just the targets is itself."""
    return networks[0] if len(networks) == 1 else Towers(targets, networks)


def make_network(
    targets: Sequence[str], forms: Sequence[Form], architecture: Mapping[str, Any], plan: Plan
) -> Network | Towers:
    """Untrained networks of that shape."""
    form = dict(zip(targets, forms, strict=True))
    made = [Network(learned, **architecture, forms=[form[name] for name in learned]) for learned in plan]
    return put_together(targets, made)
