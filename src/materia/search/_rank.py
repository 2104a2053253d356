"""The final order of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions, Verdict
from materia.search._pareto import ranks


@dataclass(frozen=True)
class Entry:
    """A candidate to be ranked.

    Attributes:
        id: which.
        values: computed quantities (all of the conditions'), empty where there are none.
        predictions: quantity -> {"mean", "std"}, as of the moment it was picked (or now, if it never was).
        failed: its calculation failed.
    """

    id: str
    values: Mapping[str, float] = field(default_factory=dict)
    predictions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True)
class Ranked:
    """An entry in its place.

    Attributes:
        rank: 1-based.
        entry: the candidate.
        hit: it was computed and meets every written condition.
        verdict: losses and violations where it was computed.
        pareto: 1-based Pareto rank of its losses among the computed, None where it was not.
        probability: of being a hit, by its predictions (NaN-free: 1 or 0 by its values without predictions,
            0 where nothing is known).
    """

    rank: int
    entry: Entry
    hit: bool
    verdict: Verdict | None
    pareto: int | None
    probability: float


def rank(entries: Sequence[Entry], conditions: Conditions) -> list[Ranked]:
    """Order candidates: hits, then other computed ones, then predicted ones, then failures.

    Hits stand by total loss, then probability; other computed candidates by the number of conditions missed,
    the distance missed by, then total loss; predicted ones by probability. Equal ones stand by id.
    """
    verdicts = [conditions.evaluate(e.values) if e.values and not e.failed else None for e in entries]
    computed = [i for i, v in enumerate(verdicts) if v is not None]
    pareto: dict[int, int] = {}
    if computed:
        losses = np.array([list(v.losses.values()) for v in verdicts if v is not None])
        pareto = dict(zip(computed, map(int, ranks(losses)), strict=True))
    chances = [_chance(e, v, conditions) for e, v in zip(entries, verdicts, strict=True)]

    def place(i: int) -> tuple[float, ...]:
        verdict = verdicts[i]
        if verdict is None:
            return (3.0 if entries[i].failed else 2.0, 0.0, 0.0, 0.0, -chances[i])
        missed = sum(distance > 0 for distance in verdict.miss.values())
        return (float(missed > 0), missed, sum(verdict.miss.values()), verdict.total_loss, -chances[i])

    order = sorted(range(len(entries)), key=lambda i: (place(i), entries[i].id))
    return [
        Ranked(
            rank=position,
            entry=entries[i],
            hit=(verdict := verdicts[i]) is not None and verdict.hit,
            verdict=verdict,
            pareto=pareto.get(i),
            probability=chances[i],
        )
        for position, i in enumerate(order, start=1)
    ]


def _chance(entry: Entry, verdict: Verdict | None, conditions: Conditions) -> float:
    wanted = conditions.intervals
    if all(q in entry.predictions for q in wanted):
        if not wanted:
            return 1.0
        chance = float(conditions.probability(Beliefs.of({q: entry.predictions[q] for q in wanted}))[0])
        if math.isfinite(chance):
            return chance
    return float(verdict.hit) if verdict is not None else 0.0
