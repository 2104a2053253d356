"""Whether the intervals held where it counts: on the picks, which are not like the training data, and on the pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from materia.record import CampaignRecord
from materia.report import _words as words
from materia.surrogate import badly_covered

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


def strata(record: CampaignRecord) -> list[dict[str, Any]]:
    """How the last surrogate errs on parts of the formulas that were left out, and how often its intervals hold there.

    Returns:
        Of each quantity ``title``, ``unit`` and ``rows`` of ``name``, ``n``, ``mae``, ``coverage`` and ``bad`` (fewer
        inside than chance explains): predictions inside the asked window, then metals and others, families, structure
        types. Quantities without any row are left out.
    """
    card = record.models[-1] if record.models else {}
    windows, found = words.bounds(record.settings), []
    for quantity, divisions in card.get("strata", {}).items():
        parity = card.get("parity", {}).get(quantity, {})
        inside_window = _inside_window(parity, windows[quantity]) if quantity in windows else {}
        parts = {**({"window": inside_window} if inside_window else {}), **divisions}
        bad = {name for name, _, _ in badly_covered(parts)}
        rows = [
            {
                "name": name,
                "n": words.count(said["n"]),
                "mae": words.number(said["mae"], decimals=3) if "mae" in said else "–",
                "coverage": f"{100 * said['coverage_90']:.0f} %" if "coverage_90" in said else "–",
                "bad": name in bad,
            }
            for kinds in parts.values()
            for name, said in kinds.items()
        ]
        if rows:
            found.append({"title": words.title(quantity), "unit": words.unit(quantity), "rows": rows})
    return found


def _inside_window(parity: Mapping[str, Any], window: tuple[float, float]) -> dict[str, dict[str, float]]:
    """Left-out formulas that are predicted to lie in the window: where picks come from."""
    if "inside" not in parity:
        return {}
    observed, predicted, inside = (np.array(parity[name], dtype=float) for name in ("observed", "predicted", "inside"))
    here = (predicted >= window[0]) & (predicted <= window[1])
    if not here.any():
        return {}
    error = np.abs(observed - predicted)[here].mean()
    said = {"n": int(here.sum()), "mae": float(error), "coverage_90": float(inside[here].mean())}
    return {"predicted inside the window": said}


def pool_drift(record: CampaignRecord) -> str:
    """What the last surrogate's alarm says of the pool; empty where it does not know."""
    for round_ in reversed(record.rounds):
        shift = round_.metrics.get("pool_shift")
        if shift is None:
            continue
        if not round_.metrics.get("pool_alarm"):
            return "No sign that the pool differs from the formulas that the intervals were calibrated on."
        return (
            f"The pool drifts from what the intervals were calibrated on: a candidate lies farther from the labelled "
            f"structures than {100 * shift:.0f} % of their left-out formulas. The intervals may be too narrow for it."
        )
    return ""
