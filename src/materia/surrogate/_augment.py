"""Random small strains and displacements in training: pool structures are not relaxed, labels are of those that are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from materia.surrogate._graph import Batch


@dataclass(frozen=True)
class Part:
    """Which structures of a larger batch are here, so that each is perturbed as it would be there.

    Attributes:
        n_atoms: (B,) atoms of each structure of the larger batch.
        here: the structures that are here, in its order.
    """

    n_atoms: Tensor
    here: slice

    @property
    def atoms(self) -> slice:
        """The rows of atoms that are here."""
        return slice(int(self.n_atoms[: self.here.start].sum()), int(self.n_atoms[: self.here.stop].sum()))


def perturb(
    batch: Batch, *, strain: float, rattle: float, generator: torch.Generator, part: Part | None = None
) -> Batch:
    """Strain each cell and displace each atom at random.

    Half of the strain's variance is a pure change of volume, the other half a symmetric change of shape.

    Args:
        batch: on any device; random numbers are drawn on the CPU so that they do not depend on it.
        strain: standard deviation of the linear strain.
        rattle: standard deviation of each coordinate of each atom, Å.
        generator: CPU generator, the only source of randomness.
        part: where the batch is one process' share of a larger one.
    """
    if strain == 0 and rattle == 0:
        return batch
    if part is None:
        part = Part(batch.n_atoms, slice(0, len(batch)))
    size, n = len(part.n_atoms), int(part.n_atoms.sum())
    like = batch.vectors
    deformation = _deformation(size, strain, generator)[part.here].to(like)
    shift = (rattle * torch.randn(n, 3, generator=generator, dtype=torch.float64))[part.atoms].to(like)
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
