"""Everything the page shows, worked out of a record as plain values for the template."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from materia.errors import MateriaError
from materia.record import CampaignRecord, PickState, is_validated, redacted
from materia.report import _competing as competing
from materia.report import _costs as costs
from materia.report import _facts as facts
from materia.report import _figures as figures
from materia.report import _words as words
from materia.report._ladder import ladder_section
from materia.report._people import people_section
from materia.report._plot import round_colour
from materia.report._remaining import remaining_section
from materia.report._structures import scene
from materia.report._trust import picks_coverage, pool_drift, strata
from materia.report._why import why

_MOST_HEROES = 6
FORMATION = "formation_energy_per_atom"


def view(record: CampaignRecord) -> dict[str, Any]:
    """The template's variables."""
    if not words.bounds(record.settings):  # nothing to meet: then everything would be a hit
        record = replace(record, ranking=[{**r, "hit": False} for r in record.ranking])
    rows = _rows(record)
    scenes = _scenes(record)
    for row in rows:
        row["scene"] = scenes["index"].get(row["id"])
    computed = [r for r in rows if r["status"] == "computed"]
    targets = _targets(record)
    return {
        "name": record.name,
        "state": record.state,
        "started": facts.when(record.meta.get("started")),
        "finished": facts.when(record.meta.get("finished")),
        "stopped_because": record.meta.get("stopped_because", ""),
        "tiles": _tiles(record),
        "conditions": words.conditions(record.settings),
        "wishes": words.wishes(record.settings),
        "funnel": _funnel(record),
        "level": facts.level(record),
        "columns": _columns(record),
        "rows": rows,
        "asks_hull": figures.HULL in words.asked_quantities(record.settings),
        "expects_hull": any(dossier.get("rivals") for dossier in record.dossiers.values()),
        "closed_shell_only": words.leaves_out_open_shells(record.settings),
        "heroes": [r for r in computed if r["scene"] is not None][:_MOST_HEROES],
        "n_hits": sum(r["hit"] for r in computed),
        "n_computed": len(computed),
        "rounds": _rounds(record),
        "ladder": ladder_section(record),
        "asks_competing": record.validates,
        "competing": competing.competing_section(record),
        "left": remaining_section(record),
        "people": people_section(record),
        "figure_plane": figures.objective_plane(record),
        "figure_pool": _pool_map(record),
        "figure_rounds": figures.rounds_figure(record),
        "figures_learning": [(words.title(q), f) for q in targets if (f := figures.learning_figure(record, q))],
        "figures_parity": _parities(record, targets),
        "picks_coverage": picks_coverage(record),
        "strata": strata(record),
        "pool_drift": pool_drift(record),
        "figure_calibration": figures.calibration(record.models[-1].get("parity", {})) if record.models else "",
        "figures_picks": [(words.title(q), f) for q in targets if (f := figures.picks_parity(record, q))],
        "failures": facts.failures(record),
        "jobs": costs.jobs(record),
        "cost_tiles": costs.tiles(record),
        "cost_per_hit": costs.per_hit(record),
        "cost_factors": costs.factors(record),
        "recipes": costs.recipes(record),
        "figures_cost": [
            (name, figure)
            for name, figure in (("Wall time", costs.time_figure(record)), ("Peak memory", costs.memory_figure(record)))
            if figure
        ],
        "dataset": facts.dataset(record),
        "models": facts.models(record),
        "versions": sorted(dict(record.meta.get("versions", {})).items()),
        "digests": facts.digests(record),
        "changes": facts.changes(record),
        "settings_text": yaml.safe_dump(redacted(dict(record.settings)), sort_keys=False, allow_unicode=True),
        "page_data": {"scenes": scenes["scenes"], "details": _details(record)},
    }


def _tiles(record: CampaignRecord) -> list[dict[str, str]]:
    computed = [r for r in record.ranking if r["status"] == "computed"]
    picks = [p for r in record.rounds for p in r.picks]
    failed = sum(p.state is PickState.FAILED for p in picks)
    pending = sum(p.state is PickState.PENDING for p in picks)
    stopped = sum(p.state is PickState.STOPPED for p in picks)
    hits = sum(bool(r["hit"]) for r in computed)
    asked = bool(words.bounds(record.settings))
    cpu = sum(j.outcome.cpu_s for j in record.jobs if j.outcome is not None)
    wall = sum(j.outcome.wall_s for j in record.jobs if j.outcome is not None)
    notes = [words.plural(failed, "failure")]
    notes += [f"{n} {state}" for n, state in ((stopped, "stopped on the way"), (pending, "under way")) if n]
    tiles = [
        {"label": "candidates in the pool", "value": words.count(record.pool.get("n")), "note": ""},
        {"label": "computed with DFT", "value": words.count(len(computed)), "note": ", ".join(notes)},
        {"label": "meet every condition", "value": words.count(hits), "note": _share(hits, len(computed))},
        {
            "label": "CPU time of DFT",
            "value": words.duration(cpu),
            "note": f"wall time of all jobs {words.duration(wall)}",
        },
    ]
    return [t for t in tiles if asked or t["label"] != "meet every condition"]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} of those computed".replace("%", " %") if whole else "none computed yet"


def _columns(record: CampaignRecord) -> list[dict[str, str]]:
    asked = words.asked_quantities(record.settings)
    present = {q for r in record.ranking for q in r["values"]}
    names = asked + [q for q in (FORMATION,) if q in present and q not in asked]
    return [
        {"quantity": q, "title": words.SHORT.get(q, words.title(q)), "unit": words.unit(q), "full": words.axis(q)}
        for q in names
    ]


def _rows(record: CampaignRecord) -> list[dict[str, Any]]:
    columns = [c["quantity"] for c in _columns(record)]
    wanted = words.bounds(record.settings)
    limits = {q: _limits(record, q) for q in columns}
    changed, distorting = facts.changed_structures(record), facts.distorting(record)
    rows = []
    for r in record.ranking:
        cells = []
        for q in columns:
            belief = r["predictions"].get(q, {})
            value = r["values"].get(q, None if words.uncertain(belief) else belief.get("mean"))
            interval = wanted.get(q)
            fits = value is not None and interval is not None and interval[0] <= value <= interval[1]
            cells.append(
                {
                    "value": words.number(value, q),
                    "sort": value if value is not None else belief.get("mean"),
                    "predicted": words.predicted(belief, q),
                    "strip": figures.strip(value, belief, limits[q], interval or (-math.inf, math.inf)),
                    "fits": fits,
                    "misses": value is not None and interval is not None and not fits,
                }
            )
        rows.append(
            {
                "rank": r["rank"],
                "id": r["candidate_id"],
                "formula": words.formula(r["formula"]),
                "prototype": r["prototype"],
                "status": r["status"],
                "standing": competing.standing(r),
                "hit": bool(r["hit"]),
                "cells": cells,
                "probability": r["probability"],
                "round": r["round"],
                "reason": _reason(r),
                "changed": r["candidate_id"] in changed,
                "distorts": r["candidate_id"] in distorting,
                "fell": facts.fell(r),
            }
        )
    return rows


def _reason(row: dict[str, Any]) -> str:
    """That of a failure begins with a machine's word; why a candidate was stopped is a sentence already."""
    said = str(row.get("reason", ""))
    return said if row["status"] == "stopped" else words.reason(said)


def _limits(record: CampaignRecord, quantity: str) -> tuple[float, float]:
    """Common scale of one column's strips."""
    found = [r["values"][quantity] for r in record.ranking if quantity in r["values"]]
    found += [
        r["predictions"][quantity]["mean"] for r in record.ranking if "mean" in r["predictions"].get(quantity, {})
    ]
    found += [e for e in words.bounds(record.settings).get(quantity, ()) if math.isfinite(e)]
    finite = [float(v) for v in found if math.isfinite(v)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)


def _scenes(record: CampaignRecord) -> dict[str, Any]:
    """Structures for the viewer; one that cannot be drawn is left out, its row stays."""
    index: dict[str, int] = {}
    scenes: list[dict[str, Any]] = []
    for row in record.ranking:
        try:
            drawn = scene(row["structure"])
        except (MateriaError, KeyError):
            continue
        index[row["candidate_id"]] = len(scenes)
        scenes.append({"id": row["candidate_id"], "formula": row["formula"], **drawn})
    return {"index": index, "scenes": scenes}


def _details(record: CampaignRecord) -> list[dict[str, Any]]:
    """What the page shows of one candidate when it is opened."""
    picks = {p.candidate_id: p for r in record.rounds for p in r.picks}
    changed, distorting = facts.changed_structures(record), facts.distorting(record)
    details = []
    for row in record.ranking:
        pick = picks.get(row["candidate_id"])
        names = dict.fromkeys([*row["values"], *row["predictions"]])
        lines = []
        for q in names:
            belief = row["predictions"].get(q, {})
            value = row["values"].get(q, None if words.uncertain(belief) else belief.get("mean"))
            lines.append([words.axis(q), words.number(value, q), words.predicted(belief, q) or "–"])
        details.append(
            {
                "id": row["candidate_id"],
                "formula": row["formula"],
                "prototype": row["prototype"],
                "status": row["status"],
                "standing": competing.standing(row),
                "hit": bool(row["hit"]),
                "facts": lines,
                "round": row["round"],
                "score": []
                if pick is None
                else [[words.score_part(k), words.number(v)] for k, v in pick.score.items()],
                "sources": []
                if pick is None
                else sorted({f"{la.fidelity}, level {la.level}: {la.source}" for la in pick.labels}),
                "reason": _reason(row),
                "changed": row["candidate_id"] in changed,
                "distorts": row["candidate_id"] in distorting,
                "fell": facts.fell(row),
                "structure": row["structure"],
            }
        )
    return details


def _rounds(record: CampaignRecord) -> list[dict[str, Any]]:
    rows = {r["candidate_id"]: r for r in record.ranking}
    axes = [q for q in words.asked_quantities(record.settings) if q != figures.SUPPLY]
    found = []
    for r in record.rounds:
        picks = []
        for p in r.picks:
            row = None if p.state is PickState.VETOED else rows.get(p.candidate_id)
            changes = []
            for q in axes:
                belief = p.predictions.get(q, {})
                value = row["values"].get(q) if row else None
                if "mean" in belief or value is not None:
                    changes.append(
                        {
                            "title": words.SHORT.get(q, words.title(q)),
                            "unit": words.unit(q),
                            "predicted": words.predicted(belief, q),
                            "value": words.number(value, q) if value is not None else "",
                        }
                    )
            picks.append(
                {
                    "id": p.candidate_id,
                    "formula": words.formula(row["formula"] if row else p.candidate_id),
                    "prototype": row["prototype"] if row else "",
                    "state": p.state.value,
                    "hit": bool(row and row["hit"]),
                    "changes": changes,
                    "score": [(words.score_part(k), words.number(v)) for k, v in p.score.items()],
                    "reason": p.reason if p.state in (PickState.VETOED, PickState.STOPPED) else words.reason(p.reason),
                    "pinned": bool((record.dossier(p) or {}).get("pin")),
                    "why": why(record.dossier(p)),
                }
            )
        found.append(
            {
                "number": r.number,
                "state": r.state,
                "colour": round_colour(r.number, len(record.rounds)),
                "n_labelled": r.n_labelled,
                "picks": picks,
            }
        )
    return found


def _funnel(record: CampaignRecord) -> list[dict[str, Any]]:
    """Steps from everything thought of to what was computed, with bar lengths on a logarithmic scale."""
    steps: list[dict[str, Any]] = [
        {"step": str(s.get("step", "")), "n": int(s.get("n", 0)), "kind": "space"}
        for s in record.pool.get("funnel", [])
    ]
    left = _too_costly(record)
    if left:
        steps.append({"step": "left to larger campaigns (predicted cost too high)", "n": left, "kind": "aside"})
    labelled = sum(r["status"] == "labelled" for r in record.ranking)
    if labelled:
        steps.append({"step": "already labelled: they train, and are never picked", "n": labelled, "kind": "aside"})
    n_picks = sum(len(r.picks) for r in record.rounds)
    computed = [r for r in record.ranking if r["status"] == "computed"]
    steps.append({"step": "picked", "n": n_picks, "kind": "campaign"})
    steps.append({"step": "computed with DFT", "n": len(computed), "kind": "campaign"})
    if words.bounds(record.settings):
        steps.append({"step": "meet every condition", "n": sum(bool(r["hit"]) for r in computed), "kind": "hit"})
        if record.validates:
            n = sum(bool(r["hit"]) and is_validated(r) for r in computed)
            steps.append({"step": "validated: their competing phases are known too", "n": n, "kind": "hit"})
    most = math.log10(max([10, *(int(s["n"]) for s in steps)]))
    for s in steps:
        s["share"] = round(100 * math.log10(s["n"] + 1) / most, 1) if s["n"] else 0
        s["count"] = words.count(s["n"])
    return steps


def _too_costly(record: CampaignRecord) -> int:
    """Candidates left to larger campaigns."""
    if "too_costly" in record.pool:
        return int(record.pool["too_costly"])
    most = words.campaign_settings(record.settings).get("search", {}).get("max_cost_s")
    costs = record.folder / "pool" / "costs.npy"
    return int((np.load(costs, allow_pickle=False) > most).sum()) if most is not None and costs.is_file() else 0


def _pool_map(record: CampaignRecord) -> Any:
    """Drawn from the last model's predictions of the whole pool, where they are kept."""
    for place in range(len(record.models) - 1, -1, -1):
        path = record.folder / "models" / str(place) / "predictions.npz"
        targets = list(record.models[place].get("targets", ()))
        if path.is_file() and "gap_pbe" in targets and FORMATION in targets:
            with np.load(path, allow_pickle=False) as arrays:
                mean = arrays["mean"]
            columns = (mean[:, targets.index("gap_pbe")], mean[:, targets.index(FORMATION)])
            return figures.pool_map(record, ("gap_pbe", FORMATION), columns)
    return ""


def _targets(record: CampaignRecord) -> list[str]:
    return list(dict.fromkeys(t for c in record.models for t in c.get("targets", ())))


def _parities(record: CampaignRecord, targets: list[str]) -> list[dict[str, Any]]:
    found = []
    for q in targets:
        card = record.models[-1] if record.models else {}
        drawn = figures.parity(q, card.get("parity", {}).get(q, {}))
        if drawn:
            v = card.get("validation", {}).get(q, {})
            coverage = v.get("coverage_90")
            found.append(
                {
                    "title": words.title(q),
                    "figure": drawn,
                    "mae": f"{words.number(v.get('mae'), decimals=3)} {words.unit(q)}",
                    "rmse": f"{words.number(v.get('rmse'), decimals=3)} {words.unit(q)}",
                    "coverage": f"{100 * coverage:.0f} %" if isinstance(coverage, (int, float)) else "–",
                    "n": words.count(v.get("n")),
                }
            )
    return found
