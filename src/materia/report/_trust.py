"""Whether the intervals held where it counts: on the picks, which are not like the training data, and on the pool."""

from __future__ import annotations

from typing import Any

from materia.record import CampaignRecord
from materia.report import _words as words

_Z90 = 1.645  # a 90 % interval of a normal distribution is that many standard deviations either way


def picks_coverage(record: CampaignRecord) -> list[dict[str, Any]]:
    """By round and quantity, how many picks' DFT values lie in the 90 % interval they were picked with.

    Returns:
        ``title``, ``rounds`` as (number, inside, n), and their sums ``inside`` and ``n``; quantities without any are
        left out.
    """
    found: dict[str, dict[int, list[bool]]] = {}
    for row in record.ranking:
        if row["status"] != "computed" or row["round"] is None:
            continue
        for quantity, belief in row["predictions"].items():
            value, std = row["values"].get(quantity), belief.get("std")
            if value is not None and std and "mean" in belief:  # what a table says has no spread
                inside = abs(value - belief["mean"]) <= _Z90 * std
                found.setdefault(quantity, {}).setdefault(int(row["round"]), []).append(inside)
    return [
        {
            "title": words.title(quantity),
            "rounds": [(number, sum(held), len(held)) for number, held in sorted(rounds.items())],
            "inside": sum(map(sum, rounds.values())),
            "n": sum(map(len, rounds.values())),
        }
        for quantity, rounds in sorted(found.items())
    ]


def pool_drift(record: CampaignRecord) -> str:
    """What the last surrogate's alarm says of the pool; empty where it does not know."""
    for round_ in reversed(record.rounds):
        shift = round_.metrics.get("pool_shift")
        if shift is None:
            continue
        if not round_.metrics.get("pool_alarm"):
            return "The pool is like the formulas that the intervals were calibrated on."
        return (
            f"The pool drifts from what the intervals were calibrated on: a candidate lies farther from the labelled "
            f"structures than {100 * shift:.0f} % of their left-out formulas. The intervals may be too narrow for it."
        )
    return ""
