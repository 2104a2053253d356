"""The report's figures, each from plain values to SVG; empty markup where there is nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from materia.record import CampaignRecord, Pick, PickState
from materia.report._plot import Plot, padded, round_colour
from materia.report._words import asked_quantities, axis, bounds, number, title, uncertain, unit

HULL, SUPPLY = "energy_above_hull", "supply_risk"


def plane(record: CampaignRecord) -> tuple[str, str] | None:
    """The two quantities the objective plane is drawn in: the windowed one, and the hull or the next."""
    asked = asked_quantities(record.settings)
    rest = sorted(asked[1:], key=lambda q: (q != HULL, q == SUPPLY))
    return (asked[0], rest[0]) if rest else None


def objective_plane(record: CampaignRecord) -> Markup:
    """Each round's picks where they were predicted and where DFT put them."""
    axes = plane(record)
    if axes is None:
        return Markup()
    qx, qy = axes
    rows = {r["candidate_id"]: r for r in record.ranking}
    known = [_point(r["values"], qx, qy) for r in record.ranking if r["status"] == "labelled"]
    known = [p for p in known if p is not None]
    made = [p for r in record.rounds for p in r.picks]
    picks = [(p, None if p.state is PickState.VETOED else rows.get(p.candidate_id)) for p in made]
    places: list[tuple[float, float]] = []
    for pick, row in picks:
        places += [q for q in (_believed(pick, qx, qy), _computed(row, qx, qy)) if q is not None]
    if not places:
        return Markup()
    limits = bounds(record.settings)
    window_x, window_y = limits.get(qx, (-math.inf, math.inf)), limits.get(qy, (-math.inf, math.inf))
    shown = places + _within(known, places)
    edges_x = [e for e in window_x if math.isfinite(e)]
    edges_y = [e for e in window_y if math.isfinite(e)]
    plot = Plot(
        padded([p[0] for p in shown] + edges_x),
        padded([p[1] for p in shown] + edges_y),
        axis(qx),
        axis(qy),
        f"{title(qy)} over {title(qx)}: hollow marks are predictions when picked, filled marks DFT values, "
        f"coloured by round; the shaded field is what was asked for.",
        width=760,
        height=440,
        left=76,
    )
    plot.band(window_x, window_y)
    for x, y in _within(known, places):
        plot.dot(x, y, css="dot known", radius=2.4, tip="already labelled")
    total = len(record.rounds)
    for pick, row in picks:
        _draw_pick(plot, pick, row, (qx, qy), round_colour(pick.round, total))
    return plot.svg()


def _draw_pick(plot: Plot, pick: Pick, row: Mapping[str, Any] | None, axes: tuple[str, str], colour: str) -> None:
    before, after = _believed(pick, *axes), _computed(row, *axes)
    name = f"{pick.candidate_id}, round {pick.round}"
    if before is not None and after is not None:
        plot.line([before, after], "move", colour)
    if before is not None:
        failed = pick.state is PickState.FAILED
        tip = f"{name}: {'failed: ' + pick.reason if failed else 'predicted'}"
        plot.dot(
            *before,
            css="dot hollow",
            colour=colour,
            radius=4 if failed else 3.2,
            tip=tip,
            shape="cross" if failed else "circle",
        )
    if after is not None and row is not None:
        tip = f"{name}: computed{', meets every condition' if row['hit'] else ''}"
        plot.dot(
            *after,
            css="dot hit" if row["hit"] else "dot",
            colour=colour,
            radius=4.6,
            tip=tip,
            shape="diamond" if row["hit"] else "circle",
        )


def rounds_figure(record: CampaignRecord) -> Markup:
    """What came of each round's picks, and the hits so far."""
    if not any(r.picks for r in record.rounds):
        return Markup()
    hits = {r["candidate_id"] for r in record.ranking if r["hit"]}
    tallies = []
    for r in record.rounds:
        good = sum(p.state is PickState.COMPUTED and p.candidate_id in hits for p in r.picks)
        computed = sum(p.state is PickState.COMPUTED for p in r.picks)
        failed = sum(p.state is PickState.FAILED for p in r.picks)
        stopped = sum(p.state is PickState.STOPPED for p in r.picks)
        waiting = sum(p.state.open for p in r.picks)
        tallies.append((r.number, good, computed - good, stopped, failed, waiting))
    running = np.cumsum([t[1] for t in tallies])
    top = max(max(sum(t[1:]) for t in tallies), int(running[-1]), 1)
    words = "; ".join(f"round {t[0]}: {t[1]} hits of {sum(t[1:])}" for t in tallies)
    plot = Plot(
        (-0.6, len(tallies) - 0.4),
        (0, top * 1.1),
        "Round",
        "Candidates",
        f"Outcome of the picks by round. {words}.",
        integer_x=True,
    )
    kinds = ("hit", "miss", "stopped", "failed", "pending")
    for place, (n, *parts) in enumerate(tallies):
        low = 0
        for kind, size in zip(kinds, parts, strict=True):
            if size:
                plot.bar(place, low, low + size, 0.56, kind, f"round {n}: {size} {kind}")
            low += size
    plot.line([(i, float(v)) for i, v in enumerate(running)], "total")
    for i, v in enumerate(running):
        plot.dot(i, float(v), css="dot total", radius=3.4, tip=f"{v} hits so far")
    return plot.svg()


def learning_figure(record: CampaignRecord, quantity: str) -> Markup:
    """Out-of-fold error of each round's surrogate, and how far off it was on the picks it led to."""
    errors = [(n, c.get("validation", {}).get(quantity, {}).get("mae")) for n, c in enumerate(record.models)]
    fold = [(float(n), float(v)) for n, v in errors if v is not None]
    on_picks = []
    for r in record.rounds:
        found = [abs(a - b) for a, b, n in pick_errors(record, quantity) if n == r.number]
        if found:
            on_picks.append((float(r.number), float(np.mean(found))))
    if len(fold) < 2:
        return Markup()
    top = max(v for _, v in [*fold, *on_picks])
    plot = Plot(
        (-0.4, max(n for n, _ in [*fold, *on_picks]) + 0.4),
        (0, top * 1.12),
        "Round",
        f"Mean absolute error ({unit(quantity)})" if unit(quantity) else "Mean absolute error",
        f"Error of {title(quantity)} by round: out of fold from {number(fold[0][1])} to {number(fold[-1][1])}.",
        integer_x=True,
    )
    plot.line(fold, "total")
    for n, v in fold:
        plot.dot(n, v, css="dot total", radius=3.4, tip=f"training {n:.0f}, out of fold: {number(v)}")
    for n, v in on_picks:
        plot.dot(n, v, css="dot hollow", colour="var(--ink-2)", radius=4, tip=f"round {n:.0f}, its picks: {number(v)}")
    return plot.svg()


def pick_errors(record: CampaignRecord, quantity: str) -> list[tuple[float, float, int]]:
    """(computed, predicted when picked, round) for every pick with both."""
    found = []
    for r in record.ranking:
        predicted = r["predictions"].get(quantity, {}).get("mean")
        if r["status"] == "computed" and r["round"] is not None and quantity in r["values"] and predicted is not None:
            found.append((float(r["values"][quantity]), float(predicted), int(r["round"])))
    return found


def parity(quantity: str, data: Mapping[str, Sequence[float]]) -> Markup:
    """Out-of-fold predictions over DFT values, one standard deviation up and down."""
    observed, predicted, std = _arrays(data)
    if len(observed) == 0:
        return Markup()
    limits = padded([*observed, *predicted])
    mae = float(np.abs(observed - predicted).mean())
    plot = Plot(
        limits,
        limits,
        f"{axis(quantity)}, DFT",
        "Predicted, out of fold",
        f"{title(quantity)}: predictions out of fold over DFT for {len(observed)} structures, "
        f"mean absolute error {number(mae)}.",
        height=380,
    )
    plot.line([(limits[0], limits[0]), (limits[1], limits[1])], "ideal")
    for o, p, s in zip(observed, predicted, std, strict=True):
        if math.isfinite(s):
            plot.line([(o, max(limits[0], p - s)), (o, min(limits[1], p + s))], "whisker")
    for o, p in zip(observed, predicted, strict=True):
        plot.dot(
            float(o), float(p), css="dot cloud", radius=2.6, tip=f"DFT {number(float(o))}, predicted {number(float(p))}"
        )
    return plot.svg()


def picks_parity(record: CampaignRecord, quantity: str) -> Markup:
    """Predicted when picked over computed, coloured by round."""
    points = []
    for r in record.ranking:
        belief = r["predictions"].get(quantity, {})
        if r["status"] == "computed" and r["round"] is not None and quantity in r["values"] and "mean" in belief:
            points.append((r["values"][quantity], belief["mean"], belief.get("std", math.nan), r))
    if not points:
        return Markup()
    limits = padded([v for o, p, _, _ in points for v in (o, p)], 0.14)
    plot = Plot(
        limits,
        limits,
        f"{axis(quantity)}, DFT",
        "Predicted when picked",
        f"{title(quantity)}: what was predicted when {len(points)} candidates were picked, over what DFT gave.",
        height=380,
    )
    plot.line([(limits[0], limits[0]), (limits[1], limits[1])], "ideal")
    for o, p, s, row in points:
        colour = round_colour(row["round"], len(record.rounds))
        if math.isfinite(s):
            plot.line([(o, max(limits[0], p - s)), (o, min(limits[1], p + s))], "whisker strong", colour)
        tip = f"{row['candidate_id']}: DFT {number(o)}, predicted {number(p)} ± {number(s)}"
        plot.dot(o, p, css="dot", colour=colour, radius=4.4, tip=tip, shape="diamond" if row["hit"] else "circle")
    return plot.svg()


def calibration(data: Mapping[str, Mapping[str, Sequence[float]]]) -> Markup:
    """Share of DFT values inside the predicted interval, over the share there should be."""
    levels = np.arange(0.05, 1.0, 0.05)
    widths = np.array([NormalDist().inv_cdf((1 + p) / 2) for p in levels])
    curves: list[tuple[str, NDArray[np.float64]]] = []
    for quantity, columns in data.items():
        observed, predicted, std = _arrays(columns)
        usable = np.isfinite(std) & (std > 0)
        if usable.sum() >= 5:
            z = np.abs(observed - predicted)[usable] / std[usable]
            curves.append((quantity, np.array([(z <= w).mean() for w in widths])))
    if not curves:
        return Markup()
    words = "; ".join(f"{title(q)}: {c[-2]:.0%} at 90 %" for q, c in curves)
    plot = Plot((0, 100), (0, 100), "Expected inside (%)", "Found inside (%)", f"Calibration. {words}.", height=380)
    plot.line([(0, 0), (100, 100)], "ideal")
    for place, (quantity, found) in enumerate(curves):
        colour = round_colour(place, max(2, len(curves)))
        plot.line([(0, 0), *zip(levels * 100, found * 100, strict=True)], "curve", colour)
        for level, share in zip(levels, found, strict=True):
            plot.dot(
                level * 100,
                share * 100,
                css="dot",
                colour=colour,
                radius=2.4,
                tip=f"{title(quantity)}: {share:.0%} at {level:.0%}",
            )
        plot.text(4, 97 - 6.5 * place, title(quantity), "key")
        plot.dot(1.6, 98.4 - 6.5 * place, css="dot", colour=colour, radius=3.4)
    return plot.svg()


def pool_map(
    record: CampaignRecord, quantities: tuple[str, str], columns: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> Markup:
    """The whole pool as the last surrogate sees it, with the picks on it.

    Args:
        record: the campaign.
        quantities: of the two axes.
        columns: (n,) predicted means of both.
    """
    x, y = columns
    good = np.isfinite(x) & np.isfinite(y)
    if good.sum() < 50:
        return Markup()
    x, y = x[good], y[good]
    x_limits = tuple(np.quantile(x, (0.002, 0.998)))
    y_limits = tuple(np.quantile(y, (0.002, 0.998)))
    plot = Plot(
        padded(x_limits, 0.05),
        padded(y_limits, 0.05),
        axis(quantities[0]),
        axis(quantities[1]),
        f"Predicted {title(quantities[1])} over {title(quantities[0])} for {len(x)} candidates of the pool, "
        "with the candidates that were computed.",
        width=760,
        height=440,
        left=76,
    )
    limits = bounds(record.settings)
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=(52, 34), range=(plot.x, plot.y))
    for i, j in zip(*np.nonzero(counts), strict=True):
        share = math.log1p(counts[i, j]) / math.log1p(counts.max())
        plot.cell((x_edges[i], x_edges[i + 1]), (y_edges[j], y_edges[j + 1]), round(0.1 + 0.75 * share, 2))
    for q, sides in ((quantities[0], "x"), (quantities[1], "y")):
        for edge in limits.get(q, ()):
            if math.isfinite(edge):
                ends = (
                    [(edge, plot.y[0]), (edge, plot.y[1])] if sides == "x" else [(plot.x[0], edge), (plot.x[1], edge)]
                )
                plot.line(ends, "bound")
    for row in record.ranking:
        place = _point(row["values"], *quantities)
        inside = place and plot.x[0] <= place[0] <= plot.x[1] and plot.y[0] <= place[1] <= plot.y[1]
        if place and inside and row["status"] == "computed" and row["round"] is not None:
            colour = round_colour(row["round"], len(record.rounds))
            tip = f"{row['candidate_id']}, round {row['round']}: DFT"
            plot.dot(*place, css="dot", colour=colour, radius=4.6, tip=tip, shape="diamond" if row["hit"] else "circle")
    return plot.svg()


def strip(
    value: float | None,
    belief: Mapping[str, float],
    limits: tuple[float, float],
    wanted: tuple[float, float],
) -> Markup:
    """A line as small as a word: predicted mean ± one standard deviation, the DFT value, the wanted interval."""
    width, height = 92, 16

    def at(v: float) -> float:
        share = (v - limits[0]) / (limits[1] - limits[0]) if limits[1] > limits[0] else 0.5
        return round(3 + min(1.0, max(0.0, share)) * (width - 6), 1)

    parts = [Markup('<path class="rail" d="M3,8H%s"/>') % (width - 3)]
    if any(math.isfinite(e) for e in wanted):
        left, right = at(max(wanted[0], limits[0])), at(min(wanted[1], limits[1]))
        parts.append(
            Markup('<rect class="target" x="%s" y="2" width="%s" height="12"/>') % (left, round(right - left, 1))
        )
    if uncertain(belief):
        mean, std = belief["mean"], belief.get("std", 0.0)
        parts.append(Markup('<path class="belief" d="M%s,8H%s"/>') % (at(mean - std), at(mean + std)))
        parts.append(Markup('<circle class="belief" cx="%s" cy="8" r="2.6"/>') % at(mean))
    if value is not None:
        parts.append(Markup('<path class="dft" d="M%s,2.5V13.5"/>') % at(value))
    return Markup('<svg class="strip" viewBox="0 0 %s %s" aria-hidden="true">%s</svg>') % (
        width,
        height,
        Markup().join(parts),
    )


def _point(values: Mapping[str, Any], qx: str, qy: str) -> tuple[float, float] | None:
    return (float(values[qx]), float(values[qy])) if qx in values and qy in values else None


def _computed(row: Mapping[str, Any] | None, qx: str, qy: str) -> tuple[float, float] | None:
    return None if row is None or row["status"] != "computed" else _point(row["values"], qx, qy)


def _believed(pick: Pick, qx: str, qy: str) -> tuple[float, float] | None:
    means = {q: p["mean"] for q, p in pick.predictions.items() if "mean" in p}
    return _point(means, qx, qy)


def _within(points: Sequence[Any], around: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points no further out than the picks, with some room, so that a far one does not squeeze the plot."""
    xs, ys = padded([p[0] for p in around], 0.6), padded([p[1] for p in around], 0.6)
    return [p for p in points if xs[0] <= p[0] <= xs[1] and ys[0] <= p[1] <= ys[1]]


def _arrays(
    data: Mapping[str, Sequence[float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    observed = np.asarray(data.get("observed", ()), dtype=float)
    predicted = np.asarray(data.get("predicted", ()), dtype=float)
    std = np.asarray(data.get("std", ()), dtype=float)
    return observed, predicted, std if len(std) == len(observed) else np.full(len(observed), math.nan)
