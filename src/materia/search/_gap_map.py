"""From a PBE gap to what HSE06 will say: a calibrated map, and the chance of a window that follows from it.

Where PBE leaves a gap, small networks on composition and PBE gap predict how far HSE06 opens it, and the errors they
made on formulas they had not seen say how far they are to be trusted. Where PBE closes the gap nothing is settled
either: some such crystals are absorbers (CuInSe2), so they have a probability of being open, by composition, and the
distribution of the gaps that published ones turned out to have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from materia.errors import SearchError
from materia.resources import resource
from materia.search._gauss import Floats

CLOSED = 0.01  # eV: a PBE gap up to here counts as closed
BELOW_ZERO = 0.5  # weight of the networks where PBE's bands overlap by a known amount
BLOCK = 20_000  # rows at a time, so that a pool of a million needs no gigabytes
NODES = 9  # equally likely values of an uncertain PBE gap
# Errors that were made on so many pairs of one's own weigh as much as those on the published ones.
PRIOR_PAIRS = 10.0


@dataclass(frozen=True)
class DearGaps:
    """What is believed of n dear gaps, eV: a mixture of what the networks say and of what closed gaps turn out to be.

    Attributes:
        centre, scale: (n,) median-like centre and unit of error of what the networks predict.
        trust: (n,) weight of that; 1 where PBE has a gap.
        chance_open: (n,) that a gap which PBE closes is open, by composition.
        errors: (k,) quantiles of the error over its unit, of open ones.
        opened: (k,) quantiles of the gaps of those that only HSE06 opens, less ``closing``.
        closing: (n,) what another effect (spin-orbit coupling) takes from such gaps.
    """

    centre: Floats
    scale: Floats
    trust: Floats
    chance_open: Floats
    errors: Floats
    opened: Floats
    closing: Floats

    def chance(self, low: float, high: float) -> Floats:
        """(n,) probability of ``low <= gap <= high``."""
        known = _share(self.errors, (high - self.centre) / self.scale)
        if low > 0:  # a gap is never negative: whatever is predicted below 0 is 0
            known = known - _share(self.errors, (low - self.centre) / self.scale)
        opened = _share(self.opened, high + self.closing) - (
            _share(self.opened, low + self.closing) if low > 0 else 0.0
        )
        closed = (1 - self.chance_open) * float(low <= 0 <= high)
        return np.asarray(self.trust * known + (1 - self.trust) * (self.chance_open * opened + closed))

    def moments(self) -> tuple[Floats, Floats]:
        """(n,) mean and standard deviation."""
        z_mean, z_square = self.errors.mean(), (self.errors**2).mean()
        mean = self.centre + self.scale * z_mean
        square = self.centre**2 + 2 * self.centre * self.scale * z_mean + self.scale**2 * z_square
        left, left_square = self._left_open()
        mean = self.trust * mean + (1 - self.trust) * self.chance_open * left
        square = self.trust * square + (1 - self.trust) * self.chance_open * left_square
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def _left_open(self) -> tuple[Floats, Floats]:
        """(n,) means of max(opened - closing, 0) and of its square, by sums over those quantiles that are left."""
        left = np.searchsorted(self.opened, self.closing, side="right")
        count = len(self.opened) - left
        sums = [np.append(np.cumsum(self.opened[::-1] ** power)[::-1], 0.0)[left] for power in (1, 2)]
        mean = (sums[0] - count * self.closing) / len(self.opened)
        square = (sums[1] - 2 * self.closing * sums[0] + count * self.closing**2) / len(self.opened)
        return mean, square


@dataclass(frozen=True)
class GapMap:
    """The map. :meth:`shipped` is that of published pairs; :meth:`recalibrated` holds it against one's own.

    Attributes:
        arrays: weights by name.
        card: what it was trained on, and the errors it made on formulas it had not seen.
        offset: eV by which dear gaps lie above those predicted.
        stretch: factor on the unit of error.
        n_own: pairs that offset and stretch come from.
    """

    arrays: dict[str, Floats]
    card: dict[str, Any]
    offset: float = 0.0
    stretch: float = 1.0
    n_own: int = 0

    @classmethod
    def shipped(cls) -> GapMap:
        """That of the published pairs of PBE and HSE06 gaps that ship with materia."""
        return _read(resource("data/weights/gap_map"))

    def predict(
        self,
        composition: np.ndarray,
        gap_pbe: np.ndarray,
        closing: np.ndarray | float = 0.0,
        blur: np.ndarray | float = 0.0,
        overlap: np.ndarray | None = None,
    ) -> DearGaps:
        """What HSE06 will say.

        Where PBE's bands overlap and it is known how much, the networks go on below zero: HSE06 opens an overlap as it
        would a gap near zero. No published pair tells how well that holds, so it weighs as much as what composition
        says of closed gaps.

        Args:
            composition: (n, 90) of :func:`materia.search.composition_features`.
            gap_pbe: (n,) eV.
            closing: (n,) or one number: eV to be taken from HSE06's gap (spin-orbit coupling).
            blur: how uncertain that is, eV.
            overlap: (n,) eV by which PBE's bands overlap, 0 where they do not; None: not known.

        Raises:
            SearchError: shapes that do not fit.
        """
        gap = np.asarray(gap_pbe, dtype=np.float64)
        x = np.asarray(composition, dtype=np.float64)
        if x.ndim != 2 or gap.shape != (len(x),) or x.shape[1] != len(self.arrays["mean"]) - 2:
            raise SearchError(f"compositions of shape {x.shape} and PBE gaps of shape {gap.shape} do not fit")
        less = np.broadcast_to(np.asarray(closing, dtype=np.float64), gap.shape)
        a = self.arrays
        members = forward(a, (inputs(x, gap) - a["mean"]) / a["spread"])
        scale = np.sqrt(a["floor"].item() ** 2 + a["slope"].item() ** 2 * members.var(0))
        logit = ((x - a["closed_mean"]) / a["closed_spread"]) @ a["closed_weights"] + a["closed_bias"].item()
        below = np.zeros(len(gap)) if overlap is None else np.asarray(overlap, dtype=np.float64)
        return DearGaps(
            centre=gap - below + members.mean(0) - less + self.offset,
            scale=np.hypot(scale * self.stretch, blur),
            trust=np.where(gap > CLOSED, 1.0, 0.0 if overlap is None else BELOW_ZERO),
            chance_open=1 / (1 + np.exp(-logit)),
            errors=a["errors"],
            opened=a["opened"],
            closing=np.asarray(less),
        )

    def recalibrated(
        self,
        composition: np.ndarray,
        gap_pbe: np.ndarray,
        dear: np.ndarray,
        closing: np.ndarray | float = 0.0,
        blur: np.ndarray | float = 0.0,
    ) -> GapMap:
        """The map held against n pairs of one's own level; arguments as of :meth:`predict`, ``dear`` (n,) eV.

        Those with both gaps open give an offset (median error) and a stretch (median absolute deviation over that of
        the published pairs), each drawn to that of the published ones as if by ``PRIOR_PAIRS`` further pairs.
        """
        both = (np.asarray(gap_pbe) > CLOSED) & (np.asarray(dear) > CLOSED)
        n = int(both.sum())
        if n == 0:
            return self
        less, unsure = (np.broadcast_to(np.asarray(a, dtype=np.float64), both.shape)[both] for a in (closing, blur))
        plain = replace(self, offset=0.0, stretch=1.0)
        found = plain.predict(np.asarray(composition)[both], np.asarray(gap_pbe)[both], less, unsure)
        error = np.asarray(dear)[both] - found.centre
        offset = float(np.median(error)) * n / (n + PRIOR_PAIRS)
        own = np.median(np.abs(error - offset) / found.scale)
        usual = np.median(np.abs(self.arrays["errors"]))
        stretch = float(np.sqrt((n * (own / usual) ** 2 + PRIOR_PAIRS) / (n + PRIOR_PAIRS)))
        return replace(self, offset=offset, stretch=stretch, n_own=n)

    def uncertain(
        self,
        composition: np.ndarray,
        mean: np.ndarray,
        std: np.ndarray,
        closing: np.ndarray | float = 0.0,
        blur: np.ndarray | float = 0.0,
    ) -> tuple[Floats, Floats]:
        """(n,) mean and standard deviation of the dear gap, for PBE gaps known as N(mean, std²). Other arguments as of
        :meth:`predict`."""
        parts = [self.predict(composition, gap, closing, blur).moments() for gap in scenarios(mean, std)]
        centre = np.mean([m for m, _ in parts], axis=0)
        square = np.mean([m**2 + s**2 for m, s in parts], axis=0)
        return centre, np.sqrt(np.maximum(square - centre**2, 0.0))


def scenarios(mean: np.ndarray, std: np.ndarray) -> list[Floats]:
    """``NODES`` times (n,) equally likely PBE gaps out of N(mean, std²); negative ones are closed."""
    from scipy.stats import norm

    nodes = norm.ppf((np.arange(NODES) + 0.5) / NODES)
    return [np.maximum(mean + z * std, 0.0) for z in nodes]


def inputs(composition: np.ndarray, gap_pbe: np.ndarray) -> Floats:
    """(n, 92) what the networks see: composition, PBE gap and its root."""
    gap = np.maximum(np.asarray(gap_pbe, dtype=np.float64), 0.0)
    return np.column_stack([composition, gap, np.sqrt(gap)]).astype(np.float64)


def forward(arrays: dict[str, Floats], x: Floats) -> Floats:
    """(members, n) outputs of the networks for normalised inputs (n, 92)."""
    layers = sum(name.startswith("w") for name in arrays)
    found = np.empty((len(arrays["w0"]), len(x)))
    for first in range(0, len(x), BLOCK):
        out: Floats = x[None, first : first + BLOCK]
        for k in range(layers):
            out = out @ arrays[f"w{k}"] + arrays[f"b{k}"][:, None, :]
            if k + 1 < layers:
                out = np.maximum(out, 0.0)
        found[:, first : first + BLOCK] = out[..., 0]
    return found


def _share(quantiles: Floats, x: Floats | float) -> Floats:
    """(n,) share of a distribution at or below x, from its quantiles at (k + 1/2) / K."""
    levels = (np.arange(len(quantiles)) + 0.5) / len(quantiles)
    return np.asarray(np.interp(x, quantiles, levels, left=0.0, right=1.0), dtype=np.float64)


@cache
def _read(folder: Path) -> GapMap:
    from safetensors.numpy import load_file

    arrays = {name: array.astype(np.float64) for name, array in load_file(folder / "weights.safetensors").items()}
    return GapMap(arrays, json.loads((folder / "card.json").read_text()))
