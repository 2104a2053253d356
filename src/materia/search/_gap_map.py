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
from materia.search._beliefs import Hurdle
from materia.search._gauss import Floats
from materia.search._own_errors import MEDIAN_TO_STD, OwnErrors
from materia.search._scenarios import Uncertain, scenarios

CLOSED = 0.01  # eV: a PBE gap up to here counts as closed
BELOW_ZERO = 0.5  # weight of the networks where PBE's bands overlap by a known amount
BLOCK = 20_000  # rows at a time, so that a pool of a million needs no gigabytes

Off = tuple[Floats, Floats]
"""(n,) mean and (n,) standard deviation, eV, of what the published map is off by."""


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
        _, mean, square = self.above()
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def above(self) -> tuple[Floats, Floats, Floats]:
        """(n,) probability that the gap is open, (n,) means of the gap (eV) and of its square (eV²).

        What would be below 0 is 0.
        """
        known = _positive(self.errors, self.centre, self.scale)
        opened = _positive(self.opened, -self.closing, np.ones_like(self.closing))
        weights = self.trust, (1 - self.trust) * self.chance_open
        chance, mean, square = (np.asarray(weights[0] * a + weights[1] * b) for a, b in zip(known, opened, strict=True))
        return chance, mean, square


@dataclass(frozen=True)
class GapMap:
    """The map. :meth:`shipped` is that of published pairs; :meth:`recalibrated` holds it against one's own.

    Attributes:
        arrays: weights by name.
        card: what it was trained on, and the errors it made on formulas it had not seen.
        own: errors that it made on one's own pairs, by composition; None: nothing is known of them.
    """

    arrays: dict[str, Floats]
    card: dict[str, Any]
    own: OwnErrors | None = None

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
        off: Off | None = None,
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
            off: of :meth:`off`, by those who ask about the same compositions again and again.

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
        centre, scale = gap + members.mean(0) - less, self._scale(members)
        is_open = gap > CLOSED
        if self.own is not None:
            error, unsure = off or self.own.at(self._normalised(x))
            centre = centre + np.where(is_open, error, 0.0)
            scale = np.where(is_open, np.hypot(self.own.stretch * self._core * scale, unsure), scale)
        logit = ((x - a["closed_mean"]) / a["closed_spread"]) @ a["closed_weights"] + a["closed_bias"].item()
        below = np.zeros(len(gap)) if overlap is None else np.asarray(overlap, dtype=np.float64)
        return DearGaps(
            centre=centre - below,
            scale=np.hypot(scale, blur),
            trust=np.where(is_open, 1.0, 0.0 if overlap is None else BELOW_ZERO),
            chance_open=1 / (1 + np.exp(-logit)),
            errors=a["errors"],
            opened=a["opened"],
            closing=np.asarray(less),
        )

    def off(self, composition: np.ndarray) -> Off | None:
        """What the published map is off by, for compositions (n, 90); None without pairs of one's own."""
        return None if self.own is None else self.own.at(self._normalised(np.asarray(composition, dtype=np.float64)))

    def recalibrated(
        self,
        composition: np.ndarray,
        gap_pbe: np.ndarray,
        dear: np.ndarray,
        closing: np.ndarray | float = 0.0,
        blur: np.ndarray | float = 0.0,
    ) -> GapMap:
        """The map held against n pairs of one's own level; arguments as of :meth:`predict`, ``dear`` (n,) eV.

        Those with both gaps open tell by composition how far the map is off (:class:`OwnErrors`). Where PBE leaves no
        gap it stays as it is: errors of open ones say nothing there, by the pairs in data/dataset.
        """
        both = (np.asarray(gap_pbe) > CLOSED) & (np.asarray(dear) > CLOSED)
        if not both.any():
            return self
        less, unsure = (np.broadcast_to(np.asarray(a, dtype=np.float64), both.shape)[both] for a in (closing, blur))
        x = np.asarray(composition, dtype=np.float64)[both]
        found = replace(self, own=None).predict(x, np.asarray(gap_pbe)[both], less)
        noise = np.hypot(self._core * found.scale, unsure)
        own = OwnErrors.of(self._normalised(x), np.asarray(dear)[both] - found.centre, noise)
        return replace(self, own=own)

    def _normalised(self, composition: Floats) -> Floats:
        n = composition.shape[1]
        return np.asarray((composition - self.arrays["mean"][:n]) / self.arrays["spread"][:n])

    def _scale(self, members: Floats) -> Floats:
        """(n,) unit of error of the networks, eV, for their (members, n) outputs."""
        a = self.arrays
        return np.asarray(np.sqrt(a["floor"].item() ** 2 + a["slope"].item() ** 2 * members.var(0)))

    @property
    def _core(self) -> float:
        """Standard deviation of the published errors over their unit, were it not for their tails."""
        return float(MEDIAN_TO_STD * np.median(np.abs(self.arrays["errors"])))

    def uncertain(
        self,
        composition: np.ndarray,
        gap_pbe: Uncertain,
        closing: np.ndarray | float = 0.0,
        blur: np.ndarray | float = 0.0,
        off: Off | None = None,
    ) -> tuple[tuple[Floats, Floats], Hurdle]:
        """What HSE06 will say where the PBE gap is not computed yet; other arguments as of :meth:`predict`.

        Args:
            gap_pbe: what is believed of it.

        Returns:
            (n,) mean and (n,) standard deviation of the dear gap, eV, and whether it is open, and where if it is.
        """
        parts, off = np.zeros((3, len(composition))), off or self.off(composition)
        for weight, gap in scenarios(gap_pbe):
            parts += weight * np.array(self.predict(composition, gap, closing, blur, off=off).above())
        chance, mean, square = parts
        least = np.maximum(chance, 1e-12)
        spread = np.sqrt(np.maximum(square / least - (mean / least) ** 2, 1e-6))
        return (mean, np.sqrt(np.maximum(square - mean**2, 0.0))), Hurdle(chance, mean / least, spread)


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


def _positive(quantiles: Floats, centre: Floats, scale: Floats) -> tuple[Floats, Floats, Floats]:
    """(n,) probability of g > 0, and means of max(g, 0) and of its square, for g = centre + scale times what the sorted
    quantiles stand for: by sums over those that are left."""
    left = np.searchsorted(quantiles, -centre / scale, side="right")
    power = [np.append(np.cumsum(quantiles[::-1] ** p)[::-1], 0.0)[left] / len(quantiles) for p in (0, 1, 2)]
    mean = centre * power[0] + scale * power[1]
    square = centre**2 * power[0] + 2 * centre * scale * power[1] + scale**2 * power[2]
    return power[0], mean, square


@cache
def _read(folder: Path) -> GapMap:
    from safetensors.numpy import load_file

    arrays = {name: array.astype(np.float64) for name, array in load_file(folder / "weights.safetensors").items()}
    return GapMap(arrays, json.loads((folder / "card.json").read_text()))
