"""What was still to be found before each round, as told then: plain values, a line and a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from materia.record import CampaignRecord
from materia.report import _words as words
from materia.report._costs import node_of
from materia.report._plot import Plot


def remaining_summary(record: CampaignRecord) -> list[dict[str, Any]]:
    """By round, oldest first; the last entry may be of a round that never began, after the last results.

    Returns:
        ``round``; ``found`` hits before it, ``expected`` and ``high`` (bound of 95 %) hits among ``unknown`` candidates
        that may still be chosen (None where nothing makes a hit), ``believed`` (expected before it was corrected) and
        ``correction`` (hits expected for each one predicted); ``next_hit`` and ``most`` (95 % of the expected hits),
        each with ``calculations``, ``cpu_hours`` and ``node_hours`` on whole nodes, or None; ``hypervolume`` still to
        be gained (``expected``, ``high``), as shares of what would then be dominated, or None.
    """
    told = record.meta.get("remaining", {})
    asked, cores = bool(words.bounds(record.settings)), node_of(record).cores
    return [_row(int(number), told[number], asked, cores) for number in sorted(told, key=int)]


def _row(number: int, left: Mapping[str, Any], asked: bool, cores: int | None) -> dict[str, Any]:
    room = left.get("room")
    return {
        "round": number,
        "unknown": left["unknown"],
        "found": left["found"],
        "expected": left["expected"] if asked else None,
        "high": left["high"] if asked else None,
        "believed": left["believed"] if asked else None,
        "correction": round(left["expected"] / left["believed"], 3) if asked and left["believed"] > 0 else None,
        "next_hit": _effort(left.get("next_hit"), cores),
        "most": _effort(left.get("most"), cores),
        "hypervolume": None if room is None else {"expected": room["expected"], "high": room["high"]},
    }


def _effort(found: Mapping[str, Any] | None, cores: int | None) -> dict[str, Any] | None:
    if found is None:
        return None
    hours = None if found["cpu_s"] is None else found["cpu_s"] / 3600
    return {
        "calculations": found["calculations"],
        "cpu_hours": None if hours is None else round(hours, 4),
        "node_hours": None if hours is None or not cores else round(hours / cores, 4),
    }


def told_remaining(row: Mapping[str, Any]) -> str:
    """One entry of :func:`remaining_summary` as a sentence or two."""
    said = []
    if row["expected"] is not None:
        said.append(
            f"{words.number(row['expected'], decimals=1)} hits expected among {words.count(row['unknown'])} candidates "
            f"left, at most {words.count(row['high'])} (95 %), beside {row['found']} found"
        )
        said.append(f"the next hit costs {_price(row['next_hit'])}" if row["next_hit"] else "less than one hit is left")
        if row["next_hit"] and row["most"]:
            said.append(f"95 % of what is left costs {_price(row['most'])}")
    if row["hypervolume"] is not None:
        mean, high = (f"{100 * row['hypervolume'][k]:.1f} %" for k in ("expected", "high"))
        said.append(f"hypervolume still to be gained: {mean}, at most {high} (95 %)")
    return "; ".join(said)


def _price(effort: Mapping[str, Any]) -> str:
    text = words.plural(effort["calculations"], "calculation")
    hours = [
        f"{words.amount(effort[key])} {name}"
        for key, name in (("cpu_hours", "CPU hours"), ("node_hours", "node-hours"))
        if effort[key] is not None
    ]
    return f"{text} ({', '.join(hours)})" if hours else text


def remaining_section(record: CampaignRecord) -> dict[str, Any]:
    """The page's part; empty where nothing was told."""
    rows = remaining_summary(record)
    if not rows:
        return {}
    return {"line": told_remaining(rows[-1]), "rows": [_shown(r) for r in rows], "figure": remaining_figure(rows)}


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    price = {key: _short(row[key]) for key in ("next_hit", "most")}
    return {
        "round": str(row["round"]),
        "found": words.count(row["found"]),
        "expected": words.number(row["expected"], decimals=1),
        "high": words.count(row["high"]),
        "correction": words.number(row["correction"], decimals=2),
        "room": "–" if row["hypervolume"] is None else f"{100 * row['hypervolume']['expected']:.1f} %",
        **price,
    }


def _short(effort: Mapping[str, Any] | None) -> str:
    if effort is None:
        return "–"
    hours = "" if effort["cpu_hours"] is None else f" ({words.amount(effort['cpu_hours'])})"
    return words.count(effort["calculations"]) + hours


def remaining_figure(rows: list[dict[str, Any]]) -> Markup:
    """Hits found and still expected before each round, with the bound."""
    rows = [r for r in rows if r["expected"] is not None]
    if len(rows) < 2:
        return Markup()
    x = [float(r["round"]) for r in rows]
    expected = [float(r["expected"]) for r in rows]
    high = [float(r["high"]) for r in rows]
    found = [float(r["found"]) for r in rows]
    last = rows[-1]
    plot = Plot(
        (x[0] - 0.4, x[-1] + 0.4),
        (0.0, 1.1 * max([*high, *found, 1.0])),
        "Before round",
        "Hits",
        f"Hits found and still to be found by round. Before round {last['round']}: {last['found']} found, "
        f"{last['expected']:.1f} expected, at most {last['high']}.",
        integer_x=True,
    )
    plot.ribbon(x, [0.0] * len(x), high, "var(--ink-2)")
    plot.line(list(zip(x, expected, strict=True)), "ideal")
    plot.line(list(zip(x, found, strict=True)), "total")
    for row, a, b, c, d in zip(rows, x, found, expected, high, strict=True):
        plot.dot(a, b, css="dot total", radius=3.4, tip=f"before round {row['round']}: {b:.0f} found")
        plot.dot(
            a, c, css="dot hollow", colour="var(--ink-2)", radius=3.4, tip=f"{c:.1f} still expected, at most {d:.0f}"
        )
    return plot.svg()
