"""What is believed about every candidate of the pool before it is computed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from materia.errors import SearchError
from materia.search._gauss import Floats


class Beliefs:
    """Independent Gaussians per candidate and quantity; std 0 says that the value is known.

    Args:
        columns: quantity -> (mean (n,), std (n,)) in the quantity's unit. Rows with a mean or std that is not
            finite cannot be chosen (``usable`` is False there).

    Raises:
        SearchError: no column, lengths differ, or a negative std.
    """

    def __init__(self, columns: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> None:
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
        return Beliefs({name: (mean[index], std[index]) for name, (mean, std) in self._columns.items()})

    def at(self, index: int) -> dict[str, dict[str, float]]:
        """One candidate's beliefs as plain data: quantity -> {"mean", "std"}."""
        return {
            name: {"mean": float(mean[index]), "std": float(std[index])} for name, (mean, std) in self._columns.items()
        }
