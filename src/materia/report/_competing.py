"""Validated candidates: the competing phases each was held against, and what they say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from materia.record import CampaignRecord, is_validated
from materia.report import _words as words

_ON_HULL = 5e-4  # eV/atom: what is printed as 0.000


def standing(row: Mapping[str, Any]) -> str:
    """``validated``, or the status of a ranked candidate."""
    return "validated" if is_validated(row) else str(row["status"])


def competing_section(record: CampaignRecord) -> list[dict[str, Any]]:
    """For the page: every candidate that was held against competing phases, the phases lowest above the hull first."""
    rows = []
    for row in record.ranking:
        validation = row.get("validation")
        if not validation:
            continue
        phases = sorted(validation["phases"], key=lambda p: (p["above_hull"] is None, p["above_hull"], p["name"]))
        above = row["values"].get("energy_above_hull")
        rows.append(
            {
                "formula": words.formula(row["formula"]),
                "prototype": row["prototype"],
                "validated": validation["validated"],
                "because": validation["because"],
                "hit": bool(row["hit"]),
                "above_hull": words.number(above, "energy_above_hull"),
                "rivals": [f"{name} ({100 * share:.0f} %)" for name, share in validation["rivals"].items()],
                "phases": [_phase(phase) for phase in phases],
            }
        )
    return rows


def _phase(phase: Mapping[str, Any]) -> dict[str, Any]:
    chance = phase["chance"]
    return {
        "formula": words.formula(phase["formula"]),
        "prototype": phase["prototype"],
        "chance": "–" if chance is None else f"{100 * chance:.0f} %",
        "formation": words.number(phase["formation_energy"], "formation_energy_per_atom"),
        "above_hull": words.number(phase["above_hull"], "energy_above_hull"),
        "state": _said(phase),
    }


def _said(phase: Mapping[str, Any]) -> str:
    if phase["state"] != "computed":
        return words.spaced(phase["state"])
    return "on the hull" if phase["above_hull"] is not None and phase["above_hull"] < _ON_HULL else ""
