"""What people decided, and what it cost or won."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from materia.record import CampaignRecord, Override, OverrideKind, OverrideState, Pick, PickState, to_json
from materia.report import _words as words

Z_95 = 1.95996  # of the standard normal
_HONOURED = OverrideState.HONOURED
_IN_FORCE = (OverrideState.WAITING, OverrideState.STANDING)


def overrides_summary(record: CampaignRecord) -> dict[str, Any]:
    """The accounts of a campaign's overrides.

    Returns:
        ``pins`` and ``strategy``: what became of pinned picks and of the strategy's own, see :func:`_account`;
        ``vetoes``: each with what was predicted about the candidate, and the pick it cancelled if it did;
        ``approval``: whether picks need it (``required``), how many got it, which wait (``waiting``);
        ``open``: decisions that wait for a driver or for their turn; ``void``: those that came to nothing, and why.
    """
    picks = [p for r in record.rounds for p in r.picks]
    pinned = {o.candidate_id for o in record.overrides if o.kind is OverrideKind.PIN and o.state is _HONOURED}
    vetoes = [o for o in record.overrides if o.kind is OverrideKind.VETO and o.state in _IN_FORCE]
    return {
        "pins": _account(record, [p for p in picks if p.candidate_id in pinned]),
        "strategy": _account(record, [p for p in picks if p.candidate_id not in pinned]),
        "vetoes": [_veto(o, picks) for o in vetoes],
        "approval": {
            "required": words.campaign_settings(record.settings).get("search", {}).get("approval") == "required",
            "approved": sum(o.kind is OverrideKind.APPROVE and o.state is _HONOURED for o in record.overrides),
            "waiting": [p.candidate_id for p in picks if p.state is PickState.PROPOSED],
        },
        "open": [to_json(o) for o in record.overrides if o.state in _IN_FORCE and o.kind is not OverrideKind.VETO],
        "void": [to_json(o) for o in record.overrides if o.state is OverrideState.VOID],
    }


def _account(record: CampaignRecord, picks: Sequence[Pick]) -> dict[str, Any]:
    """Picks, calculations and CPU seconds spent on them, hits among the computed, hit rate with its 95 % interval.

    Only ranked candidates can be hits, so picks of an open round are not counted among the ``computed`` yet.
    ``hits`` and what follows are None where the campaign has no conditions, rates also where nothing is computed.
    """
    names = {p.candidate_id for p in picks}
    jobs = [j for j in record.jobs if j.name.rpartition("/")[0] in names and j.attempts > 0]
    ranked = [r for r in record.ranking if r["candidate_id"] in names and r["status"] == "computed"]
    hits = sum(bool(r["hit"]) for r in ranked) if words.bounds(record.settings) else None
    low, high = (None, None) if hits is None or not ranked else wilson(hits, len(ranked))
    return {
        "picks": len(picks),
        "candidates": [p.candidate_id for p in picks],
        "calculations": len(jobs),
        "cpu_s": sum(j.outcome.cpu_s for j in jobs if j.outcome is not None),
        "computed": len(ranked),
        "failed": sum(p.state is PickState.FAILED for p in picks),
        "vetoed": sum(p.state is PickState.VETOED for p in picks),
        "hits": hits,
        "hit_rate": None if hits is None or not ranked else hits / len(ranked),
        "hit_rate_low": low,
        "hit_rate_high": high,
    }


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion of ``n`` > 0 trials; Wilson, J. Am. Stat. Assoc. 22, 209 (1927)."""
    rate, z2 = hits / n, Z_95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _veto(override: Override, picks: Sequence[Pick]) -> dict[str, Any]:
    of_it = (p for p in picks if p.candidate_id == override.candidate_id and p.state is PickState.VETOED)
    cancelled = next((p for p in of_it if p.round == override.round), None)  # earlier ones: vetoes that were withdrawn
    return {
        **to_json(override),
        "cancelled": None if cancelled is None else {"round": cancelled.round, "slot": cancelled.slot},
    }


def told(account: dict[str, Any]) -> str:
    """An account in words."""
    text = f"{words.plural(account['picks'], 'pick')}, {words.plural(account['calculations'], 'calculation')}"
    text += f", {words.duration(account['cpu_s'])} of CPU"
    if account["hit_rate"] is None:
        return text
    rate, low, high = (f"{100 * account[key]:.0f} %" for key in ("hit_rate", "hit_rate_low", "hit_rate_high"))
    hits = f"{account['hits']} of {account['computed']} computed are hits"
    return f"{text}; {hits}: {rate}, 95 % interval {low} to {high}"


def people_section(record: CampaignRecord) -> dict[str, Any] | None:
    """What the page prints of it; None where nobody decided anything and nothing waits for anybody."""
    found = overrides_summary(record)
    if not record.overrides and not found["approval"]["required"]:
        return None
    vetoes = []
    for v in found["vetoes"]:
        believed = [
            f"{words.SHORT.get(q, words.title(q)).lower()} {text} {words.unit(q)}".strip()
            for q, belief in v["predictions"].items()
            if (text := words.predicted(belief, q))
        ]
        place = v["cancelled"]
        state = "not seen by the driver yet" if v["state"] == "waiting" else "never picked"
        vetoes.append(
            {
                "id": v["candidate_id"],
                "by": f"{v['who']}, {v['when'][:10]}",
                "why": v["why"],
                "state": f"cancelled in round {place['round']}" if place else state,
                "believed": ", ".join(believed) or "nothing predicted yet",
                "chance": "–" if v["probability"] is None else f"{100 * v['probability']:.0f} %",
            }
        )
    return {
        "pins": told(found["pins"]),
        "strategy": told(found["strategy"]),
        "any_pins": bool(found["pins"]["picks"]),
        "vetoes": vetoes,
        "approval": found["approval"],
        "open": [o for o in found["open"] if o["kind"] == "pin"],
        "void": found["void"],
    }
