"""Objectives and constraints as arithmetic: on computed values, and on beliefs about values to come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from materia import quantities
from materia.errors import ConfigError, SearchError
from materia.search._beliefs import Beliefs
from materia.search._gauss import Floats, hinge, log_interval, log_interval_above
from materia.search._settings import Constraint, Objective


@dataclass(frozen=True)
class Verdict:
    """A computed candidate held against the conditions.

    Attributes:
        losses: objective's quantity -> loss in its unit (unweighted; smaller is better).
        total_loss: weighted sum of the losses.
        violations: constraint's name -> distance beyond its bound (at most 0: respected).
        miss: quantity -> distance to what a hit needs (0: met), one entry for each quantity with a condition.
        hit: every written condition is met.
    """

    losses: dict[str, float]
    total_loss: float
    violations: dict[str, float]
    miss: dict[str, float]
    hit: bool


class Conditions:
    """What a campaign wants.

    All conditions on one quantity are first intersected to one interval; different quantities are taken as
    independent.

    Args:
        objectives: at least one, each on its own quantity.
        constraints: any number.

    Raises:
        ConfigError: no objective, two objectives on one quantity, or conditions no value can meet.
    """

    def __init__(self, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()) -> None:
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        names = [o.quantity for o in self.objectives]
        if not names:
            raise ConfigError("no objective", where="objectives", remedy="write at least one")
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(
                f"two objectives on {', '.join(doubled)}",
                where="objectives",
                remedy="keep one objective for each quantity and write bounds as constraints",
            )
        self.intervals: dict[str, tuple[float, float]] = {}
        every: tuple[Objective | Constraint, ...] = (*self.objectives, *self.constraints)
        for wanted in every:
            low, high = wanted.interval
            before = self.intervals.get(wanted.quantity, (-math.inf, math.inf))
            both = (max(low, before[0]), min(high, before[1]))
            floor = _floor(wanted.quantity)
            if both[0] > both[1] or (floor is not None and both[1] < floor):
                raise ConfigError(
                    f"no value of {wanted.quantity} lies in [{both[0]:g}, {both[1]:g}]",
                    where="objectives and constraints",
                    remedy="widen the window or the bounds on it",
                )
            if not all(math.isinf(edge) for edge in both):
                self.intervals[wanted.quantity] = both

    @property
    def quantities(self) -> tuple[str, ...]:
        """Every quantity asked about, in the order written."""
        return tuple(dict.fromkeys(w.quantity for w in (*self.objectives, *self.constraints)))

    def evaluate(self, values: Mapping[str, float]) -> Verdict:
        """Hold computed values (quantity -> value in its unit) against the conditions.

        Raises:
            SearchError: a value is missing or not finite.
        """
        for name in self.quantities:
            if name not in values or not math.isfinite(values[name]):
                raise SearchError(
                    f"no finite value of {name}: {values.get(name)}",
                    remedy="a computed candidate needs every quantity of the conditions; tell it as failed otherwise",
                )
        losses = {o.quantity: objective_loss(o, values[o.quantity]) for o in self.objectives}
        violations = {c.name: _violation(c, values[c.quantity]) for c in self.constraints}
        miss = {q: max(low - values[q], values[q] - high, 0.0) for q, (low, high) in self.intervals.items()}
        return Verdict(
            losses=losses,
            total_loss=sum(o.weight * losses[o.quantity] for o in self.objectives),
            violations=violations,
            miss=miss,
            hit=all(distance == 0.0 for distance in miss.values()),
        )

    def log_probabilities(self, beliefs: Beliefs) -> dict[str, Floats]:
        """Quantity -> (n,) log probability of meeting all conditions on it."""
        return {q: self._log_probability(beliefs, q) for q in self.intervals}

    def _log_probability(self, beliefs: Beliefs, name: str) -> Floats:
        low, high = self.intervals[name]

        def chance() -> Floats:
            if (h := beliefs.hurdle(name)) is not None:
                return log_interval_above(h.chance, h.mean, h.std, low, high, _floor(name))
            return log_interval(*beliefs.column(name), low, high, _floor(name))

        return beliefs.derived(("log p", name, low, high), chance)

    def log_probability(self, beliefs: Beliefs) -> Floats:
        """(n,) log probability of being a hit."""
        return sum(self.log_probabilities(beliefs).values(), start=np.zeros(beliefs.n))

    def probability(self, beliefs: Beliefs) -> Floats:
        """(n,) probability of being a hit."""
        return np.exp(self.log_probability(beliefs))

    def chances(self, predictions: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Quantity -> probability that one candidate meets all conditions on it.

        Args:
            predictions: as of :meth:`Beliefs.at`; conditions on what is not predicted are left out.
        """
        known = {q: predictions[q] for q in self.intervals if q in predictions}
        if not known:
            return {}
        beliefs = Beliefs.of(known)
        return {q: float(np.exp(self._log_probability(beliefs, q)[0])) for q in known}

    def expected_losses(self, beliefs: Beliefs) -> dict[str, Floats]:
        """Objective's quantity -> (n,) expected loss in its unit (unweighted)."""

        def loss(objective: Objective) -> Floats:
            return beliefs.derived(
                ("loss", objective.quantity, objective.window, objective.goal),
                lambda: expected_loss(objective, *beliefs.column(objective.quantity)),
            )

        return {o.quantity: loss(o) for o in self.objectives}

    def expected_miss(self, beliefs: Beliefs) -> Floats:
        """(n,) expected total loss plus expected distance to what a hit needs; breaks ties, smaller is better."""
        total = np.zeros(beliefs.n)
        for objective, losses in zip(self.objectives, self.expected_losses(beliefs).values(), strict=True):
            total += objective.weight * losses
        for name, (low, high) in self.intervals.items():
            mean, std = beliefs.column(name)
            total += _distance(mean, std, low, high, _floor(name))
        return total


def objective_loss(objective: Objective, value: float) -> float:
    """Loss of a known value, in the quantity's unit (unweighted)."""
    if objective.window is not None:
        low, high = objective.window
        return max(low - value, value - high, 0.0)
    return value if objective.goal == "minimize" else -value


def expected_loss(objective: Objective, mean: Floats, std: Floats) -> Floats:
    """(n,) expected loss under N(mean, std²), clamped to the quantity's physical range."""
    floor = _floor(objective.quantity)
    if objective.window is not None:
        return _distance(mean, std, *objective.window, floor)
    value = mean if floor is None else floor + hinge(mean, std, floor)
    return value if objective.goal == "minimize" else -value


def _distance(mean: Floats, std: Floats, low: float, high: float, floor: float | None) -> Floats:
    """(n,) expected distance of ``max(x, floor)`` to [low, high]: E(low - x)+ + E(x - high)+."""
    total = np.zeros(mean.shape)
    if math.isfinite(high):
        total += hinge(mean, std, high, floor)
    if math.isfinite(low) and (floor is None or low > floor):
        total += hinge(-mean, std, -low)
        if floor is not None:  # what lies below the floor is lifted to it
            total -= hinge(-mean, std, -floor)
    return total


def _violation(constraint: Constraint, value: float) -> float:
    low, high = constraint.interval
    return value - high if constraint.below is not None else low - value


def _floor(name: str) -> float | None:
    return quantities.quantity(name).lower
