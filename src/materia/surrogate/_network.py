"""The network: node-ACE layers (scalars travel along edges, orders l <= 2 couple at nodes), readout, heads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from materia.quantities import Form
from materia.surrogate._elements import N_ELEMENTS, N_FEATURES
from materia.surrogate._graph import Batch
from materia.surrogate._heads import make_head
from materia.surrogate._kernels import Kernels, PackedKernels
from materia.surrogate._layout import Layout

_ORDERS = ((0, 1), (1, 4), (4, 9))  # components of l = 0, 1, 2 in the harmonics
_SUM_SCALE = 0.2  # keeps sums over some 25 neighbours of order one


class RadialBasis(nn.Module):
    """Bessel functions of the distance under a smooth cutoff."""

    frequency: Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("frequency", torch.arange(1, count + 1) * math.pi, persistent=False)

    def forward(self, distance: Tensor, mask: Tensor) -> Tensor:
        """(N, K) distances in Å -> (N, K, n); exactly zero, with its slope, at the cutoff and where masked."""
        x = (distance / self.cutoff)[..., None]
        envelope = (1 - x) ** 2 * (1 + 2 * x) * ((x < 1) & mask[..., None])
        waves = torch.sin(self.frequency * x) / x.clamp(min=0.05) * math.sqrt(0.5)
        return torch.mul(waves, envelope)


class ElementEmbedding(nn.Module):
    """A learned vector per element plus a linear map of tabulated features."""

    table: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.learned = nn.Embedding(N_ELEMENTS, channels)
        nn.init.normal_(self.learned.weight, std=0.3)
        self.tabulated = nn.Linear(N_FEATURES, channels)
        self.register_buffer("table", torch.zeros(N_ELEMENTS, N_FEATURES))

    def forward(self, numbers: Tensor) -> Tensor:
        """(N,) -> (N, C)."""
        return torch.add(self.learned(numbers), self.tabulated(self.table[numbers]))


class Interaction(nn.Module):
    """One layer: what an atom sees of its neighbours, coupled to invariants at the atom.

    Edges carry only a gated scalar per channel; the sum over neighbours with the spherical harmonics makes
    features of l = 0, 1, 2, and all products are taken at the atom, where there are far fewer of them.
    """

    def __init__(self, channels: int, radial: int, kernels: Kernels) -> None:
        super().__init__()
        self.channels, self.kernels = channels, kernels
        self.weights = nn.Linear(radial, 3 * channels, bias=False)  # no bias: zero beyond the cutoff
        self.gate = nn.Linear(radial, channels, bias=False)
        self.ends = nn.Linear(channels, 2 * channels)  # sender, receiver
        self.mix = nn.ParameterList(nn.Parameter(torch.randn(channels, 2 * channels) / channels**0.5) for _ in _ORDERS)
        wide = 9 * channels
        self.norm = nn.LayerNorm(wide)
        self.update = nn.Sequential(nn.Linear(wide, 2 * channels), nn.SiLU(), nn.Linear(2 * channels, channels))

    def forward(
        self, h: Tensor, state: list[Tensor] | None, basis: Tensor, harmonics: Tensor, neighbour: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Advance the scalars and the equivariant state.

        Args:
            h: (N, C) scalars.
            state: (N, 2l+1, C) for l = 0, 1, 2, or None in the first layer.
            basis: (N, K, R) radial functions.
            harmonics: (N, 9, K).
            neighbour: (N, K).
        """
        n, k = neighbour.shape
        sender, receiver = self.ends(h).split(self.channels, dim=-1)
        sent = sender[neighbour.reshape(-1)].view(n, k, self.channels)
        message = functional.silu(self.gate(basis) + sent + receiver[:, None])
        radial = self.weights(basis).split(self.channels, dim=-1)
        new, other = [], []
        for (start, stop), weight, mix in zip(_ORDERS, radial, self.mix, strict=True):
            summed = torch.bmm(harmonics[:, start:stop], weight * message) * _SUM_SCALE
            a, b = (summed @ mix).split(self.channels, dim=-1)
            new.append(a)
            other.append(b)
        if state is not None:
            new = [a + b for a, b in zip(new, state, strict=True)]
        products = (
            (other[1] * new[1]).sum(1),
            (other[2] * new[2]).sum(1),
            *self.kernels.invariants(new[1], new[2]),
        )
        compressed = [torch.sign(p) * torch.log1p(p.abs()) for p in products]
        seen = torch.cat([h, new[0][:, 0], *compressed], dim=-1)
        return h + self.update(self.norm(seen)), new


class Readout(nn.Module):
    """Atoms to crystal: the mean and several attention-weighted means, so that size and supercell do not matter."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.value = nn.Sequential(nn.Linear(channels, channels), nn.SiLU())
        self.score = nn.Linear(channels, heads)
        self.latent = nn.Sequential(nn.Linear((1 + heads) * channels + 1, channels), nn.SiLU())

    def forward(self, h: Tensor, batch: Batch) -> Tensor:
        """(N, C) -> (B, C) latent vectors."""
        value = self.value(h)
        weight = torch.exp(self.score(value).clamp(-8, 8))
        weight = torch.cat([torch.ones_like(weight[:, :1]), weight], dim=-1)  # head 0 is the plain mean
        weighted = weight[:, :, None] * value[:, None, :]
        size = len(batch)
        total = weighted.new_zeros(size, *weighted.shape[1:]).index_add_(0, batch.structure, weighted)
        norm = weight.new_zeros(size, weight.shape[1]).index_add_(0, batch.structure, weight)
        pooled = (total / norm[:, :, None]).flatten(1)
        density = torch.log(batch.volume)[:, None] - 3.0  # about zero for a solid
        return self.latent(torch.cat([pooled, density.to(pooled.dtype)], dim=-1))  # type: ignore[no-any-return]


class Network(nn.Module):
    """Crystal graph to several quantities at once.

    Args:
        targets: names of the quantities, one head each.
        channels, layers, cutoff, radial, pooling_heads, replicas: see
            :class:`~materia.surrogate.SurrogateSettings`.
        forms: of the quantities; scalars unless given.
        kernels: back end; the hand-packed one unless given.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        targets: Sequence[str],
        *,
        channels: int,
        layers: int,
        cutoff: float,
        radial: int,
        pooling_heads: int,
        replicas: int,
        forms: Sequence[str] | None = None,
        kernels: Kernels | None = None,
    ) -> None:
        super().__init__()
        self.targets = tuple(targets)
        self.layout = Layout.of(forms or [Form.SCALAR] * len(self.targets))
        self.cutoff, self.channels = cutoff, channels
        self.kernels = kernels or PackedKernels()
        self.elements = ElementEmbedding(channels)
        self.basis = RadialBasis(radial, cutoff)
        self.layers = nn.ModuleList(Interaction(channels, radial, self.kernels) for _ in range(layers))
        self.readout = Readout(channels, pooling_heads)
        self.heads = nn.ModuleDict(
            {name: make_head(f, channels, replicas) for name, f in zip(self.targets, self.layout.forms, strict=True)}
        )
        self.register_buffer("centre", torch.zeros(self.layout.width))
        self.register_buffer("scale", torch.ones(self.layout.width))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Standardised columns (B, W, R) of each replica of each head (``_layout``), and latent vectors (B, C)."""
        h, state = self.describe(batch)
        latent = self.readout(h, batch)
        parts = [
            self.heads[name](latent, h, state[2], batch) if form is Form.TENSOR else self.heads[name](latent)[:, None]
            for name, form in zip(self.targets, self.layout.forms, strict=True)
        ]
        return torch.cat(parts, dim=1), latent

    def describe(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Atoms' scalars (N, C), and their equivariant state (N, 2l+1, C) of l = 0, 1, 2 (1x0e, 1x1o, 1x2e)."""
        basis = self.basis(batch.vectors.norm(dim=-1), batch.mask)
        harmonics = self.kernels.harmonics(batch.vectors).transpose(1, 2).contiguous()
        h, state = self.elements(batch.numbers), None
        for layer in self.layers:
            h, state = layer(h, state, basis, harmonics, batch.neighbour)
        return h, state or []

    @property
    def irreps(self) -> str:
        """e3nn's name for what :meth:`node_features` returns."""
        return f"{self.channels}x0e + {self.channels}x1o + {self.channels}x2e"

    def node_features(self, batch: Batch) -> Tensor:
        """(N, 9 C) equivariant features of every atom in e3nn's layout (:attr:`irreps`), for heads built on e3nn."""
        _, state = self.describe(batch)
        return torch.cat([part.transpose(1, 2).flatten(1) for part in state], dim=1)

    def physical(self, standardised: Tensor) -> Tensor:
        """(B, W, ...) standardised columns as they were before: numbers, logarithms, logits."""
        shape = (1, -1) + (1,) * (standardised.dim() - 2)
        return standardised * self.scale.view(shape) + self.centre.view(shape)
