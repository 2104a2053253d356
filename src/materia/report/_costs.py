"""What a campaign cost and what it asked for too much, as plain values and figures; counted from what was allocated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from markupsafe import Markup

from materia.compute import Cost, Node, cost_of, summary
from materia.record import AttemptRecord, CampaignRecord, JobRecord
from materia.report import _words as words
from materia.report._plot import Plot, round_colour

MIN_REACH = 0.35  # of a logarithmic axis from its middle: some tick is always in it


def node_of(record: CampaignRecord) -> Node:
    """The node that jobs got shares of, as the record has it."""
    return Node.from_record(record.meta.get("node", {}))


def totals(record: CampaignRecord) -> dict[str, Any]:
    """All attempts of a campaign: see :func:`materia.compute.summary`. Hits are computed ones."""
    hits = sum(bool(row["hit"]) for row in record.ranking if row["status"] == "computed")
    node = node_of(record)
    return summary(cost_of((run for job in record.jobs for run in job.runs), node), node.energy, hits)


def tiles(record: CampaignRecord) -> list[dict[str, str]]:
    """The first figures of the page's part on cost."""
    node = node_of(record)
    all_runs = [run for job in record.jobs for run in job.runs]
    total = cost_of(all_runs, node)
    lost = cost_of((run for run in all_runs if not _completed(run)), node)
    again = sum(max(0, job.attempts - 1) for job in record.jobs)
    over = sum(taken_over(job) for job in record.jobs)
    notes = [f"{words.count(again)} started again"] if again else []
    notes += [f"{words.count(over)} taken over from earlier work, at no cost"] if over else []
    used = f"{_percent(total.cpu_s, total.core_s)} used, {_percent(lost.core_s, total.core_s)} in failed attempts"
    found = [
        ("calculations", words.count(len(record.jobs)), ", ".join(notes)),
        ("core-hours allocated", words.amount(total.core_s / 3600), used if total.core_s else ""),
        ("node-hours allocated", words.amount(_hours(total)), ""),
        ("electricity", words.electricity(total.kwh(node.energy)), ""),
        ("CO₂e", words.mass(total.co2e_kg(node.energy)), ""),
    ]
    return [{"label": label, "value": value, "note": note} for label, value, note in found if value != "–"]


def per_hit(record: CampaignRecord) -> list[dict[str, str]]:
    """Core-hours, node-hours, kWh and CO2e: in all, and for each hit."""
    told = totals(record)
    forms: dict[str, tuple[str, Callable[[float | None], str]]] = {
        "core_hours": ("core-hours", words.amount),
        "node_hours": ("node-hours", words.amount),
        "kwh": ("electricity", words.electricity),
        "co2e_kg": ("CO₂e", words.mass),
    }
    return [
        {"name": name, "total": form(told[key]), "each": form(told["per_hit"][key])}
        for key, (name, form) in forms.items()
    ]


def factors(record: CampaignRecord) -> list[str]:
    """What the figures were counted with, and what is missing in them."""
    node, told = node_of(record), totals(record)
    known = [
        (node.cores, "cores"),
        (node.memory_mb, "MB"),
        (node.gpus, "GPUs"),
        (node.energy.node_power_w, "W"),
    ]
    size = ", ".join(f"{value:g} {unit}" for value, unit in known if value)
    said = [f"Node of {node.name or 'unknown name'}: {size or 'nothing known'}"]
    said += ["nodes are handed out whole"] if node.whole else []
    said += [f"PUE {node.energy.pue:g}"] if node.energy.pue else []
    if node.energy.co2e_kg_per_kwh is not None:
        said.append(f"{node.energy.co2e_kg_per_kwh:g} kg CO₂e per kWh")
    return [*said, *(f"not counted: {text}" for text in told["not_counted"])]


def taken_over(job: JobRecord) -> bool:
    """Done in an earlier campaign: never started in this one, and has its result."""
    return job.attempts == 0 and job.outcome is not None


def jobs(record: CampaignRecord) -> list[dict[str, Any]]:
    """Every calculation with what was predicted, asked for, used and allocated."""
    node, rows = node_of(record), []
    for job in record.jobs:
        cost, last = cost_of(job.runs, node), job.runs[-1] if job.runs else None
        rows.append(
            {
                "name": job.name,
                "key": job.key,
                "state": "taken over" if taken_over(job) else job.state,
                "attempts": job.attempts,
                "atoms": words.count(job.features.get("n_atoms")),
                "predicted": words.duration(_predicted_s(job)) if _predicted_s(job) else "–",
                "asked": words.duration(last.asked.walltime_s) if last else "–",
                "wall": words.duration(last.wall_s) if last and last.kind else "–",
                "cpu": words.duration(last.cpu_s) if last and last.kind else "–",
                "memory": words.count(last.asked.memory_mb) if last else "–",
                "peak": words.count(last.peak_mb) if last else "–",
                "node_hours": words.amount(_hours(cost)) if cost.attempts else "–",
                "electricity": words.electricity(cost.kwh(node.energy)) if cost.attempts else "–",
                "co2e": words.mass(cost.co2e_kg(node.energy)) if cost.attempts else "–",
            }
        )
    return rows


def recipes(record: CampaignRecord) -> list[dict[str, str]]:
    """Predicted, used and asked for by recipe: medians over the calculations that completed here."""
    found = []
    for name, group in _by_recipe(record.jobs).items():
        runs = [(job, _completing(job)) for job in group]
        done = [(job, run) for job, run in runs if run is not None]
        if not done:
            continue
        over = cost_of((run for _, run in done), Node())
        predicted = [_predicted_s(job) for job, _ in done if _predicted_s(job)]
        peaks = [run.peak_mb for _, run in done if run.peak_mb is not None]
        found.append(
            {
                "name": name,
                "n": words.count(len(done)),
                "predicted": words.duration(median(predicted)) if predicted else "–",
                "used": words.duration(median(run.wall_s for _, run in done)),
                "asked": words.duration(median(run.asked.walltime_s for _, run in done)),
                "times": words.times(over.asked_s, over.wall_s),
                "peak": words.count(median(peaks)) if peaks else "–",
                "memory": words.count(median(run.asked.memory_mb for _, run in done)),
                "memory_times": words.times(over.asked_mb_s, over.peak_mb_s),
                "idle": words.amount(over.idle_core_s / 3600),
                "learned": words.count(sum(job.features.get("learned_from", 0) > 0 for job, _ in done)),
            }
        )
    return found


def time_figure(record: CampaignRecord) -> Markup:
    """Wall time used over what was predicted, by recipe, both logarithmic."""
    points = []
    for job in record.jobs:
        ended = [run for run in job.runs if run.kind is not None and run.wall_s > 0]
        if ended and _predicted_s(job):
            run = _completing(job) or ended[-1]
            tip = f"predicted {words.duration(_predicted_s(job))}, used {words.duration(run.wall_s)}"
            tip += f", asked for {words.duration(run.asked.walltime_s)}"
            points.append((_predicted_s(job), run.wall_s, job, _completed(run), tip))
    return _forecast(points, "time", "s")


def memory_figure(record: CampaignRecord) -> Markup:
    """Peak memory over what was predicted, by recipe, both logarithmic."""
    points = []
    for job in record.jobs:
        ended = [run for run in job.runs if run.peak_mb]
        predicted = job.features.get("predicted_mb", job.features.get("estimate_mb", 0.0))
        if ended and predicted > 0:
            run = _completing(job) or ended[-1]
            peak = run.peak_mb or ended[-1].peak_mb or 0.0
            tip = f"predicted {predicted:.0f} MB, peak {peak:.0f} MB, asked for {run.asked.memory_mb} MB"
            points.append((predicted, peak, job, _completed(run), tip))
    return _forecast(points, "peak memory", "MB")


def _forecast(points: Sequence[tuple[float, float, JobRecord, bool, str]], what: str, unit: str) -> Markup:
    if not points:
        return Markup()
    logs = [math.log10(value) for a, b, *_ in points for value in (a, b)]
    middle_log, reach = (min(logs) + max(logs)) / 2, max(0.6 * (max(logs) - min(logs)), MIN_REACH)
    low, high = middle_log - reach, middle_log + reach
    ratios = [b / a for a, b, _, ok, _ in points if ok]
    middle = f", median of used over predicted {median(ratios):.2f}" if ratios else ""
    plot = Plot(
        (low, high),
        (low, high),
        f"Predicted {what} ({unit})",
        f"Used ({unit})",
        f"{what.capitalize()} used over predicted for {len(points)} calculations{middle}.",
        height=380,
        left=64,
        log=True,
    )
    plot.line([(low, low), (high, high)], "ideal")
    names = list(_by_recipe([job for _, _, job, _, _ in points]))
    for predicted, used, job, ok, tip in points:
        plot.dot(
            math.log10(predicted),
            math.log10(used),
            css="dot" if ok else "dot bad",
            colour=round_colour(names.index(_recipe(job)), max(2, len(names))),
            radius=3.6,
            tip=f"{job.name}: {tip}",
            shape="circle" if ok else "cross",
        )
    for place, name in enumerate(names):
        line = high - (0.04 + 0.065 * place) * (high - low)
        plot.dot(low + 0.03 * (high - low), line, colour=round_colour(place, max(2, len(names))), radius=3.4)
        plot.text(low + 0.055 * (high - low), line, name, "key", dy=4)
    return plot.svg()


def _by_recipe(all_jobs: Sequence[JobRecord]) -> dict[str, list[JobRecord]]:
    groups: dict[str, list[JobRecord]] = {}
    for job in all_jobs:
        groups.setdefault(_recipe(job), []).append(job)
    return groups


def _recipe(job: JobRecord) -> str:
    return job.name.rsplit("/", 1)[-1]


def _predicted_s(job: JobRecord) -> float:
    """Seconds as predicted when it was added; in campaigns from before that was learned, the recipe's own formula."""
    return job.features.get("predicted_s", job.features.get("estimate_s", 0.0))


def _completed(run: AttemptRecord) -> bool:
    return run.kind is not None and run.kind.value == "completed"


def _completing(job: JobRecord) -> AttemptRecord | None:
    return next((run for run in job.runs if _completed(run)), None)


def _hours(cost: Cost) -> float | None:
    return None if cost.node_s is None else cost.node_s / 3600


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"
