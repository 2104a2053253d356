"""A pick's dossier as the page prints it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from materia.report import _words as words

_SHOWN = ("gap_pbe", "formation_energy_per_atom")


def why(dossier: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What is printed about why a candidate was picked; None where no dossier was kept."""
    if not dossier:
        return None
    return {
        "chosen": _chosen(dossier),
        "parts": _parts(dossier["score"]),
        "predictions": [_prediction(q, p) for q, p in dossier["predictions"].items()],
        "neighbours": [_neighbour(n) for n in dossier["neighbours"]],
        "rivals": _rivals(dossier.get("rivals")),
        "supply": _supply(dossier.get("sustainability")),
        "cost": words.duration(dossier["cost_s"]) if dossier.get("cost_s") is not None else "",
    }


def _chosen(dossier: Mapping[str, Any]) -> str:
    among = f" of {words.count(dossier['free'])} candidates free to choose" if dossier.get("free") else ""
    place = f"number {dossier['rank']}{among} by {words.spaced(dossier['acquisition'])}"
    pin = dossier.get("pin")
    if pin is None:
        return f"Chosen as {place}."
    return f"Pinned by {pin['who']}, {str(pin['when'])[:10]}: {pin['why']}. By itself it was {place}."


def _parts(score: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Factors that multiply and logarithms that add up; bars as shares of the greatest logarithm."""
    rows = [(words.score_part(name), part, False) for name, part in score["parts"].items()]
    rows.append(("total", score["total"], True))
    most = max([abs(part["log"]) for _, part, _ in rows if part["log"] is not None] + [1e-9])
    return [
        {
            "name": name,
            "factor": words.number(part["factor"]),
            "log": words.number(part["log"]) if part["log"] is not None else "−∞",
            "share": 100.0 if part["log"] is None else round(100 * abs(part["log"]) / most, 1),
            "up": part["log"] is not None and part["log"] > 0,
            "total": total,
        }
        for name, part, total in rows
    ]


def _prediction(quantity: str, belief: Mapping[str, Any]) -> dict[str, str]:
    known = belief["std"] == 0
    value = words.number(belief["mean"], quantity)
    low, high = words.number(belief["low"], quantity), words.number(belief["high"], quantity)
    return {
        "title": words.axis(quantity),
        "value": value if known else f"{value} ± {words.number(belief['std'], quantity)}",
        "interval": "known" if known else f"{low} to {high}",
        "wanted": _wanted(belief.get("wanted")),
        "chance": "–" if belief.get("chance") is None else f"{100 * belief['chance']:.0f} %",
    }


def _wanted(interval: Any) -> str:
    if not interval:
        return "–"
    low, high = interval
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def _rivals(mixture: Any) -> str:
    """What a predicted distance to the hull is measured from, in a sentence; empty where that is known phases alone."""
    if not mixture:
        return ""
    return f"The predicted distance to the hull is that to {told_mixture(mixture)}."


def told_mixture(mixture: Sequence[Mapping[str, Any]]) -> str:
    """The phases of a dossier's ``rivals`` with their shares, for people."""
    parts = [f"{r['name']}{' (predicted)' if r['predicted'] else ''} {100 * r['share']:.0f} %" for r in mixture]
    return f"{', '.join(parts)}, by share of the atoms"


def _neighbour(row: Mapping[str, Any]) -> dict[str, Any]:
    origin, _, name = str(row["id"]).partition("/")
    values = [
        f"{words.SHORT.get(q, words.title(q)).lower()} {words.number(v, q)} {words.unit(q)}".strip()
        for q, v in row["values"].items()
        if q in _SHOWN and isinstance(v, (int, float)) and math.isfinite(v)
    ]
    return {
        "formula": words.formula(row["formula"]),
        "id": name,
        "origin": "this campaign" if origin == "pick" else "training data",
        "distance": words.number(row["distance"], decimals=2),
        "labels": ", ".join(values),
    }


def _supply(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    return {
        "risk": words.number(found["supply_risk"], decimals=2),
        "parts": [
            {
                "element": p["element"],
                "mass": f"{100 * p['mass_fraction']:.0f} %",
                "production": words.count(p["production"]),
                "reserves": words.count(p["reserves"]),
                "adds": words.number(p["contribution"], decimals=3),
            }
            for p in found["parts"]
        ],
    }
