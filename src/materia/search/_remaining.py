"""What is still to be found: how many hits are left, with a bound, and what finding them would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from materia.search._gauss import Floats
from materia.search._recalibration import Picks, Recalibration
from materia.search._room import Room, room_left
from materia.search._settings import SearchSettings
from materia.search._view import PoolView

BOUND = 0.95  # level of the bound that is shown
MOST = 0.95  # share of the expected remaining hits that ``most`` costs
_Z = np.linspace(-5, 5, 201)
_WEIGHTS = np.exp(-0.5 * _Z**2) / np.exp(-0.5 * _Z**2).sum()


@dataclass(frozen=True)
class Effort:
    """What something costs.

    Attributes:
        calculations: so many candidates, the most promising first.
        cpu_s: their predicted CPU seconds; None where costs are not predicted.
    """

    calculations: int
    cpu_s: float | None = None


@dataclass(frozen=True)
class Remaining:
    """What is left among the candidates that may still be chosen.

    Attributes:
        unknown: how many these are.
        found: hits found so far.
        believed: sum of their chances of being a hit, as predicted.
        expected: the same, corrected by what the picks have shown of such predictions.
        spread: standard deviation of the logarithm of ``expected``, from what is not known of that correction.
        high: with a probability of 95 % there are no more hits than this.
        offset, slope: of the correction, see :class:`Recalibration`.
        next_hit: to the next hit, on average; None where less than one is expected in all that is left.
        most: to 95 % of the expected hits; None where nothing is expected.
        room: hypervolume still to be gained; None where there is no goal, or it was not asked for.
    """

    unknown: int
    found: int
    believed: float
    expected: float
    spread: float
    high: int
    offset: float
    slope: float
    next_hit: Effort | None = None
    most: Effort | None = None
    room: Room | None = None

    def at_most(self, certainty: float) -> int:
        """With this probability there are no more hits left than so many.

        The remaining hits are a sum of independent yes-or-no draws of unequal chances (Poisson binomial), which a
        Poisson distribution of the same mean approximates from the wide side; what is not known of that mean is taken
        as log-normal.
        """
        if self.expected <= 0 or self.unknown == 0:
            return 0
        from scipy.special import pdtr

        means = np.minimum(self.expected * np.exp(self.spread * _Z), self.unknown)
        low, high = -1, self.unknown
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _WEIGHTS @ pdtr(middle, means) >= certainty else (middle, high)
        return high

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Remaining:
        def effort(name: str) -> Effort | None:
            return None if record.get(name) is None else Effort(**record[name])

        room = record.get("room")
        made = {"next_hit": effort("next_hit"), "most": effort("most"), "room": None if room is None else Room(**room)}
        return cls(**{**record, **made})


def remaining(
    view: PoolView,
    search: SearchSettings,
    free: np.ndarray,
    rounds: Sequence[Picks],
    found: int,
    *,
    observed: Floats | None = None,
    seed: Sequence[int] = (0,),
) -> Remaining | None:
    """What is left among the free candidates; None without predictions, or where there is nothing to find.

    Probabilities are those of meeting every written condition, times that of the calculation's success where the view
    has it. Where nothing is a condition no candidate is a hit, and only the hypervolume is left to tell.

    Args:
        view: with beliefs of models trained on everything found so far.
        search: how candidates are chosen; its ``cost_power`` orders them as the search would.
        free: (n,) bool; those that may still be chosen.
        rounds: of each round so far its picks' predicted chances, and whether they were hits.
        found: hits found so far.
        observed: (k, m) losses of computed candidates that respect the constraints; given, the hypervolume still to
            be gained is worked out too.
        seed: of the draws for that.
    """
    conditions, beliefs = view.conditions, view.beliefs
    if conditions is None or beliefs is None:
        return None
    rows, asked = np.flatnonzero(free), bool(conditions.intervals)
    chance = conditions.probability(beliefs)[rows] if asked else np.zeros(len(rows))
    if view.success is not None:
        chance = chance * np.asarray(view.success, dtype=np.float64)[rows]
    cost = None if view.cost is None else np.asarray(view.cost, dtype=np.float64)[rows]
    line = Recalibration.of(rounds)
    corrected, spread = line.corrected(chance) if asked else (chance, 0.0)
    believed, expected = float(chance.sum()), float(corrected.sum())
    next_hit, most = _efforts(corrected, cost, search.cost_power)
    room = None
    if observed is not None:
        levels = (BOUND, BOUND if search.stop is None else search.stop.certainty)
        share = (expected / believed, spread) if asked and believed > 0 else (1.0, 0.0)
        room = room_left(conditions, beliefs, rows, observed, share, levels, seed)
    if not asked and room is None:
        return None
    left = Remaining(
        unknown=len(rows),
        found=found,
        believed=round(believed, 4),
        expected=round(expected, 4),
        spread=round(spread, 4),
        high=0,
        offset=round(line.offset, 4),
        slope=round(line.slope, 4),
        next_hit=next_hit,
        most=most,
        room=room,
    )
    return replace(left, high=left.at_most(BOUND))


def _efforts(chance: Floats, cost: Floats | None, power: float) -> tuple[Effort | None, Effort | None]:
    """To the first expected hit, and to most of them, in the order of chance per cost."""
    worth = chance if cost is None else chance / cost**power
    order = np.argsort(-worth, kind="stable")
    running = np.cumsum(chance[order])
    spent = None if cost is None else np.cumsum(cost[order])
    total = float(running[-1]) if len(running) else 0.0

    def to(wanted: float) -> Effort | None:
        if total <= 0 or wanted > total:
            return None
        k = int(np.searchsorted(running, wanted * (1 - 1e-12)))
        return Effort(k + 1, None if spent is None else round(float(spent[k]), 1))

    return to(1.0), to(MOST * total)
