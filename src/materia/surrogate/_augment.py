"""Random small strains and displacements in training: pool structures are not relaxed, labels are of those that are."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from materia.surrogate._graph import Batch


def perturb(batch: Batch, *, strain: float, rattle: float, generator: torch.Generator) -> Batch:
    """Strain each cell and displace each atom at random.

    Half of the strain's variance is a pure change of volume, the other half a symmetric change of shape.

    Args:
        batch: on any device; random numbers are drawn on the CPU so that they do not depend on it.
        strain: standard deviation of the linear strain.
        rattle: standard deviation of each coordinate of each atom, Å.
        generator: CPU generator, the only source of randomness.
    """
    if strain == 0 and rattle == 0:
        return batch
    size, n = len(batch), len(batch.numbers)
    like = batch.vectors
    deformation = _deformation(size, strain, generator).to(like)
    shift = (rattle * torch.randn(n, 3, generator=generator, dtype=torch.float64)).to(like)
    moved = batch.vectors @ deformation[batch.structure]
    moved = moved + shift[batch.neighbour] - shift[:, None]
    return replace(
        batch,
        vectors=torch.where(batch.mask[..., None], moved, 1.0),
        volume=batch.volume * torch.linalg.det(deformation.double()).to(batch.volume),
    )


def _deformation(size: int, strain: float, generator: torch.Generator) -> Tensor:
    """(B, 3, 3) symmetric deformations near the identity, clipped to three standard deviations."""
    draw = torch.randn(size, 3, 3, generator=generator, dtype=torch.float64).clamp(-3, 3)
    volume = torch.randn(size, 1, 1, generator=generator, dtype=torch.float64).clamp(-3, 3)
    shape = (draw + draw.transpose(1, 2)) / 2
    eye = torch.eye(3, dtype=torch.float64)
    result: Tensor = eye + strain * (0.5**0.5) * (shape + volume * eye)
    return result
