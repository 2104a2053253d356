"""How quantities of every form become columns of numbers to learn, and what is learned becomes values again.

Three spaces follow each other:

- **columns** (n, W), what the network learns: one for each number (the decimal logarithm of a LOG quantity), one for
  a class (0 or 1 as a label, the logit as a prediction), six for a tensor (irreducible components of its natural
  logarithm, see ``_tensors``);
- **figures** (n, T), one for each quantity, where errors are calibrated: the number, the decimal logarithm, the
  logit, the decimal logarithm of a tensor's mean eigenvalue;
- **values** in units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from materia.data import Value
from materia.quantities import Form
from materia.surrogate._tensors import (
    COMPONENTS,
    exp_tensor,
    from_irreps,
    log_tensor,
    mean_eigenvalue,
    to_irreps,
)

_MOST = 300.0  # decades: beyond, a double would overflow

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Which columns belong to which of T quantities.

    Attributes:
        forms: (T) of the quantities, in order.
    """

    forms: tuple[Form, ...]

    @classmethod
    def of(cls, forms: Sequence[str]) -> Layout:
        return cls(tuple(Form(form) for form in forms))

    def __len__(self) -> int:
        return len(self.forms)

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """(T) where each quantity's columns are."""
        widths = [COMPONENTS if form is Form.TENSOR else 1 for form in self.forms]
        ends = np.cumsum(widths).tolist()
        return tuple(slice(end - width, end) for width, end in zip(widths, ends, strict=True))

    @property
    def width(self) -> int:
        """Columns in all."""
        return self.columns[-1].stop if self.columns else 0

    @cached_property
    def first(self) -> list[int]:
        """(T) the first column of each quantity; a label is missing where this one is."""
        return [part.start for part in self.columns]

    def where(self, *forms: Form) -> list[int]:
        """Numbers of the quantities of those forms."""
        return [j for j, form in enumerate(self.forms) if form in forms]

    @cached_property
    def plain(self) -> bool:
        """Whether every quantity is one number, learned by its absolute error."""
        return not self.where(Form.CLASS, Form.TENSOR)

    def figure(self, columns: Array, j: int) -> Array:
        """(..., W) learned columns -> (...) figure of quantity j; of a label that is 0 or 1, itself."""
        part = columns[..., self.columns[j]]
        if self.forms[j] is Form.TENSOR:
            decades: Array = np.log10(mean_eigenvalue(exp_tensor(from_irreps(part))))
            return decades
        return part[..., 0]

    def figures(self, columns: Array) -> Array:
        """(..., W) learned columns -> (..., T) figures."""
        return np.stack([self.figure(columns, j) for j in range(len(self))], axis=-1)

    def spreads(self, spread: Array) -> Array:
        """(..., W) spread of columns over replicas -> (..., T) of figures; a tensor's is that of its scale."""
        if self.plain:
            return spread
        found = spread[..., self.first]
        for j in self.where(Form.TENSOR):
            found[..., j] /= math.sqrt(3) * math.log(10)
        return found


def encode(value: Value, form: Form) -> Array:
    """The columns of a label of that form."""
    if form is Form.TENSOR:
        return to_irreps(log_tensor(np.asarray(value, dtype=np.float64)))
    number = float(value)  # type: ignore[arg-type]
    return np.array([math.log10(number) if form is Form.LOG else number])


def from_figure(figure: Array, form: Form) -> Array:
    """Figures of one quantity in its unit; of a class the probability, of a tensor the mean eigenvalue."""
    if form in (Form.LOG, Form.TENSOR):
        grown: Array = 10.0 ** np.clip(figure, -_MOST, _MOST)
        return grown
    if form is Form.CLASS:
        probability: Array = 1 / (1 + np.exp(-np.clip(figure, -_MOST, _MOST)))
        return probability
    return figure


def to_figure(value: Array, form: Form) -> Array:
    """Values of one quantity as figures: what :func:`from_figure` undoes; a class stays 0 or 1."""
    if form in (Form.LOG, Form.TENSOR):
        decades: Array = np.log10(value)
        return decades
    return value


def tensors(columns: Array, figure: Array) -> Array:
    """(n, 3, 3) tensors of learned columns (n, 6), scaled to the figures (n,) they are to have."""
    found = exp_tensor(from_irreps(columns))
    factor = from_figure(figure, Form.TENSOR) / mean_eigenvalue(found)
    scaled: Array = found * factor[:, None, None]
    return scaled
