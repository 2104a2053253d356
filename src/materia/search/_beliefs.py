"""What is believed about every candidate of the pool before it is computed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from materia.errors import SearchError
from materia.search._gauss import Floats


@dataclass(frozen=True)
class Hurdle:
    """What is believed of a quantity that many candidates have at its physical bound, as metals their gap: whether it
    lies above, and if so where (J. G. Cragg, Econometrica 39, 829 (1971)).

    Attributes:
        chance: (n,) probability that it lies above its bound.
        mean, std: (n,) in the quantity's unit, of it if it does.
    """

    chance: Floats
    mean: Floats
    std: Floats

    def rows(self, index: np.ndarray) -> Hurdle:
        return Hurdle(self.chance[index], self.mean[index], self.std[index])


_OF_HURDLE = ("above", "above_mean", "above_std")


class Beliefs:
    """Independent beliefs per candidate and quantity: Gaussians, std 0 saying that the value is known; and hurdles.

    Args:
        columns: quantity -> (mean (n,), std (n,)) in the quantity's unit. Rows with a mean or std that is not
            finite cannot be chosen (``usable`` is False there).
        hurdles: more about some of these quantities; probabilities of conditions follow them, all else the columns.

    Raises:
        SearchError: no column, lengths differ, or a negative std.
    """

    def __init__(
        self,
        columns: Mapping[str, tuple[ArrayLike, ArrayLike]],
        hurdles: Mapping[str, Hurdle] | None = None,
    ) -> None:
        if not columns:
            raise SearchError("beliefs without any quantity", remedy="pass at least one quantity's mean and std")
        self._columns: dict[str, tuple[Floats, Floats]] = {}
        self._derived: dict[Hashable, Floats] = {}
        self.n = -1
        for name, (mean_like, std_like) in columns.items():
            mean = np.ascontiguousarray(mean_like, dtype=np.float64)
            std = np.ascontiguousarray(np.broadcast_to(np.asarray(std_like, dtype=np.float64), mean.shape))
            if mean.ndim != 1 or (self.n >= 0 and len(mean) != self.n):
                raise SearchError(
                    f"beliefs about {name!r} have shape {mean.shape}",
                    remedy="every quantity needs one mean and one std per candidate",
                )
            if (std < 0).any():
                raise SearchError(f"beliefs about {name!r} have a negative std: {float(std.min())}")
            self.n = len(mean)
            self._columns[name] = (mean, std)
        self._hurdles = dict(hurdles or {})
        for name, hurdle in self._hurdles.items():
            if name not in self._columns or {len(hurdle.chance), len(hurdle.mean), len(hurdle.std)} != {self.n}:
                raise SearchError(f"the hurdle of {name!r} is not of a quantity believed of {self.n} candidates")

    @property
    def quantities(self) -> tuple[str, ...]:
        return tuple(self._columns)

    def column(self, quantity: str) -> tuple[Floats, Floats]:
        """Mean (n,) and std (n,) of a quantity.

        Raises:
            SearchError: nothing is believed about it.
        """
        try:
            return self._columns[quantity]
        except KeyError:
            raise SearchError(
                f"nothing is predicted about {quantity!r}",
                where=f"beliefs about {', '.join(self._columns)}",
                remedy="predict it, derive it, or take it out of the objectives and constraints",
            ) from None

    def hurdle(self, quantity: str) -> Hurdle | None:
        """More about a quantity than its column says; None where there is nothing."""
        return self._hurdles.get(quantity)

    def uncertain(self, quantity: str) -> tuple[Floats, Floats] | Hurdle:
        """The most that is known of what a quantity may be: its hurdle, or mean (n,) and std (n,)."""
        hurdle = self.hurdle(quantity)
        return self.column(quantity) if hurdle is None else hurdle

    def usable(self, quantities: Iterable[str]) -> np.ndarray:
        """(n,) bool: mean and std of all these quantities are finite."""
        good = np.ones(self.n, dtype=bool)
        for name in quantities:
            mean, std = self.column(name)
            good &= np.isfinite(mean) & np.isfinite(std)
        return good

    def derived(self, key: Hashable, make: Callable[[], Floats]) -> Floats:
        """(n,) something that follows from these beliefs alone, made once and kept; not to be written to.

        The slots of a round share their beliefs, so what one ask has worked out the next need not. Keys must be
        few: each keeps n numbers for as long as the beliefs live.
        """
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def rows(self, index: np.ndarray) -> Beliefs:
        """The same beliefs about some of the candidates (indices, or a mask)."""
        columns = {name: (mean[index], std[index]) for name, (mean, std) in self._columns.items()}
        return Beliefs(columns, {name: hurdle.rows(index) for name, hurdle in self._hurdles.items()})

    def at(self, index: int) -> dict[str, dict[str, float]]:
        """One candidate's beliefs as plain data: quantity -> {"mean", "std"}, and of a hurdle "above", "above_mean" and
        "above_std" too. :meth:`of` reads them."""
        found = {}
        for name, (mean, std) in self._columns.items():
            found[name] = {"mean": float(mean[index]), "std": float(std[index])}
            if (h := self._hurdles.get(name)) is not None:
                parts = (h.chance, h.mean, h.std)
                found[name] |= {key: float(part[index]) for key, part in zip(_OF_HURDLE, parts, strict=True)}
        return found

    @classmethod
    def of(cls, predictions: Mapping[str, Mapping[str, float]]) -> Beliefs:
        """One candidate's, as :meth:`at` gave them."""
        columns = {name: ([p["mean"]], [p["std"]]) for name, p in predictions.items()}
        hurdles = {
            name: Hurdle(*(np.array([p[key]]) for key in _OF_HURDLE)) for name, p in predictions.items() if "above" in p
        }
        return cls(columns, hurdles)
