"""The page of a replay: what each strategy found, how fast, and how well it knew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from materia.report._plot import Plot, round_colour
from materia.report._words import number, title
from materia.report._write import fill, put_page

Curve = Sequence[Mapping[str, float] | None]


def write_replay(result: Mapping[str, Any], path: str | Path) -> Path:
    """Write a replay's page: one file that needs no network, replaced whole or not at all.

    Args:
        result: as :func:`materia.search.replay.summarise` gives it.
        path: of the page; folders are made.

    Raises:
        StorageError: it cannot be written.
    """
    return put_page(path, fill("replay.html.j2", _view(result)))


def _view(result: Mapping[str, Any]) -> dict[str, Any]:
    goal, strategies = result["goal"], result["strategies"]
    colours = {name: round_colour(k, len(strategies)) for k, name in enumerate(strategies)}
    best = max(strategies, key=lambda name: float(strategies[name]["acceleration"]["value"]))
    return {
        "name": result["name"],
        "goal": goal,
        "best": best,
        "clear": all(s["low"] > 1 for s in strategies[best]["against"].values()),
        "best_acceleration": _with_interval(strategies[best]["acceleration"]),
        "random_calculations": f"{goal['random_calculations']:,.0f}".replace(",", "\u2009"),
        "luck": " and ".join(number(edge, decimals=2) for edge in goal["luck"]),
        "strategies": [_row(name, found, colours[name]) for name, found in strategies.items()],
        "others": list(strategies),
        "stops": [_stop(name, s["stop"], colours[name]) for name, s in strategies.items() if "stop" in s],
        "figures": [f for f in _figures(goal, strategies, colours) if f["svg"]],
    }


def _row(name: str, found: Mapping[str, Any], colour: str) -> dict[str, Any]:
    ahead = [other for other, ratio in found["against"].items() if ratio["low"] > 1]
    behind = [other for other, ratio in found["against"].items() if ratio["high"] < 1]
    return {
        "name": name,
        "colour": colour,
        "acceleration": _with_interval(found["acceleration"]),
        "calculations": _with_interval(found["calculations"], 0),
        "reached": found["reached"],
        "seeds": found["seeds"],
        "against": {other: _with_interval(ratio) for other, ratio in found["against"].items()},
        "ahead": ahead,
        "behind": behind,
        "cpu": number(found["cpu_s_round"]["learn"] + found["cpu_s_round"]["choose"], decimals=2),
    }


def _stop(name: str, found: Mapping[str, Any], colour: str) -> dict[str, Any]:
    def interval(key: str, decimals: int, factor: float = 1.0) -> str:
        told = found.get(key)
        return "–" if told is None else _with_interval({k: factor * v for k, v in told.items()}, decimals)

    return {
        "name": name,
        "colour": colour,
        "rules": ", ".join(f"{k} {v:g}" for k, v in found["rules"].items()),
        "step": interval("step", 0),
        "oracle": interval("oracle", 0),
        "off": interval("off", 0, 100.0),
        "lost": interval("lost", 1, 100.0),
        "near": "–" if "near" not in found else f"{100 * found['near']:.0f} %",
        "kept": f"{100 * found['kept']:.0f} %",
        "stopped": f"{found['stopped']} of {found['seeds']}",
    }


def _with_interval(found: Mapping[str, float], decimals: int = 2) -> str:
    value, low, high = (number(found[key], decimals=decimals) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _figures(
    goal: Mapping[str, Any], strategies: Mapping[str, Any], colours: Mapping[str, str]
) -> list[dict[str, Any]]:
    def curves(key: str, label: str, alt: str, chance: bool = False) -> Markup:
        lines = {name: (s["curve"]["n"], s["curve"][key]) for name, s in strategies.items()}
        return _curves(lines, colours, label, alt, goal if chance else None)

    figures = [
        (
            curves("hits", "hits found", "Hits found against calculations, one curve a strategy", chance=True),
            "Hits found. Lines are means over the seeds, shaded their 95 % intervals; dashed: random choice, on "
            "average. A curve ends where half of its seeds are done; those that are done stand still.",
        ),
        (
            curves("enhancement", "hits over those of random choice", "Enhancement against calculations"),
            "Enhancement: hits found over those of random choice after as many calculations.",
        ),
        (
            curves("regret", "loss above the pool's best", "Simple regret against calculations"),
            "Simple regret: total loss of the best found that respects the constraints, above the pool's best.",
        ),
        (
            curves("hypervolume", "share of the hypervolume", "Hypervolume against calculations"),
            "Hypervolume of the objectives' losses, as a share of what the whole pool dominates.",
        ),
    ]
    left = {name: s["remaining"] for name, s in strategies.items() if s.get("remaining")}
    for name, told in left.items():
        lines = {key: (told["n"], [_bare(v) for v in told[key]]) for key in ("truth", "expected", "high")}
        shades = {"truth": "var(--ink)", "expected": colours[name], "high": "var(--ink-3)"}
        figures.append(
            (
                _curves(lines, shades, "hits still to be found", f"Hits still to be found, {name}"),
                f"{name}: hits still to be found, in truth (dark), as expected from the predictions corrected by what "
                f"the picks have shown (coloured), and the bound of 95 % (grey), which held in "
                f"{100 * told['held']:.0f} % of the rounds. Means over the seeds.",
            )
        )
    quantities = next(iter(strategies.values()))["calibration"]["coverage_90"]
    for quantity in quantities:
        lines = {
            name: (s["calibration"]["n"], [_bare(v) for v in s["calibration"]["coverage_90"][quantity]])
            for name, s in strategies.items()
        }
        figures.append(
            (
                _curves(lines, colours, "share inside", f"Coverage of 90 % intervals of {title(quantity)}", level=0.9),
                f"{title(quantity)}: share of the candidates not yet computed inside the predicted 90 % interval.",
            )
        )
    return [{"svg": svg, "caption": caption} for svg, caption in figures]


def _bare(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def _curves(
    lines: Mapping[str, tuple[Sequence[int], Curve]],
    colours: Mapping[str, str],
    label: str,
    alt: str,
    goal: Mapping[str, Any] | None = None,
    level: float | None = None,
) -> Markup:
    """Curves with their intervals; nothing where all of them are flat and alike."""
    kept = {name: [(n, c) for n, c in zip(*line, strict=True) if c is not None] for name, line in lines.items()}
    kept = {name: points for name, points in kept.items() if len(points) > 1}
    values = [c[key] for points in kept.values() for _, c in points for key in ("low", "high")]
    if not values or max(values) - min(values) < 1e-9:
        return Markup()
    last = max(n for points in kept.values() for n, _ in points)
    first = min(n for points in kept.values() for n, _ in points)
    low, high = min(values), max(values)
    if level is not None:
        low, high = min(low, level), max(high, level)
    air = 0.05 * (high - low)
    plot = Plot((first, last), (max(0.0, low - air), high + air), "calculations", label, alt, width=460)
    if goal is not None:
        slope = goal["hits"] / goal["pool"]
        end = min(float(last), (high + air) / slope)
        plot.line([(first, first * slope), (end, end * slope)], css="ideal")
    if level is not None:
        plot.line([(first, level), (last, level)], css="ideal")
    for name, points in kept.items():
        x = [float(n) for n, _ in points]
        plot.ribbon(x, [c["low"] for _, c in points], [c["high"] for _, c in points], colours[name])
        plot.line([(n, c["value"]) for n, c in points if math.isfinite(c["value"])], css="curve", colour=colours[name])
    return plot.svg()
