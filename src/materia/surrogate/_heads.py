"""Heads: from what the trunk knows of a crystal to standardised columns of one quantity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from materia.quantities import Form
from materia.surrogate._graph import Batch


def scalar_head(channels: int, replicas: int) -> nn.Sequential:
    """(B, C) latent vectors -> (B, R): a number of each replica. For scalars, logarithms and logits."""
    return nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, replicas))


class TensorHead(nn.Module):
    """A symmetric tensor's irreducible components: l = 0 from the invariant latent, l = 2 from the atoms.

    Each atom gives its l = 2 features, weighed channel by channel by its scalars, and the crystal has their mean.
    Nothing but weighing and adding happens to them, so they turn with the crystal as a tensor does.
    """

    def __init__(self, channels: int, replicas: int) -> None:
        super().__init__()
        self.scale = scalar_head(channels, replicas)
        self.gate = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels), nn.Tanh())
        self.mix = nn.Parameter(torch.randn(channels, replicas) / channels**0.5)

    def forward(self, latent: Tensor, h: Tensor, state: Tensor, batch: Batch) -> Tensor:
        """Standardised components.

        Args:
            latent: (B, C).
            h: (N, C) scalars of the atoms.
            state: (N, 5, C) their features of l = 2.
            batch: which atom belongs to which structure.

        Returns:
            (B, 6, R), in the order of ``_tensors``.
        """
        atoms = (state * self.gate(h)[:, None]) @ self.mix
        total = atoms.new_zeros(len(batch), *atoms.shape[1:]).index_add_(0, batch.structure, atoms)
        mean = total / batch.n_atoms[:, None, None].to(total.dtype)
        return torch.cat([self.scale(latent)[:, None], mean], dim=1)


def make_head(form: Form, channels: int, replicas: int) -> nn.Module:
    """The head for a quantity of that form."""
    return TensorHead(channels, replicas) if form is Form.TENSOR else scalar_head(channels, replicas)
