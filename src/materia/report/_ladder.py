"""The ladder's tests: who stopped before which rung, what that saved, and what it may have missed."""

from __future__ import annotations

from typing import Any

from materia.record import CampaignRecord, PickState
from materia.report import _words as words
from materia.report._people import wilson


def ladder_summary(record: CampaignRecord) -> list[dict[str, Any]]:
    """What the tests before each rung did, one row a rung that has one.

    Returns:
        ``rung``, ``recipe``, ``least``; ``tested``, ``passed`` (chance enough), ``stopped``, ``spared`` (below it, let
        up at random); ``spared_ended``: those whose calculations ended well, ``spared_hits`` and with them
        ``missed_share`` with its 95 % interval ``low`` to ``high`` (None where none ended): the rate of false
        negatives; ``missed_expected``: hits among the stopped by the chances they had; ``saved_cpu_s``: CPU seconds of
        the rung and those above, at the mean of the campaign's jobs of these recipes (None where there are none).
    """
    hits = {row["candidate_id"] for row in record.ranking if row["hit"] and row["status"] == "computed"}
    states = {p.candidate_id: p.state for r in record.rounds for p in r.picks}
    by_rung: dict[int, list[tuple[str, Any]]] = {}
    for name, climbs in record.climbs.items():
        for climb in climbs:
            by_rung.setdefault(climb.rung, []).append((name, climb))
    rows = []
    for rung, tests in sorted(by_rung.items()):
        first = tests[0][1]
        stopped = [climb for _, climb in tests if not climb.climbs]
        spared = [name for name, climb in tests if climb.spared]
        ended = [name for name in spared if states.get(name) is PickState.COMPUTED]
        found = sum(name in hits for name in ended)
        low, high = wilson(found, len(ended)) if ended else (None, None)
        rows.append(
            {
                "rung": rung,
                "recipe": first.recipe,
                "least": first.least,
                "tested": len(tests),
                "passed": sum(climb.chance >= climb.least for _, climb in tests),
                "stopped": len(stopped),
                "spared": len(spared),
                "spared_ended": len(ended),
                "spared_hits": found,
                "missed_share": found / len(ended) if ended else None,
                "low": low,
                "high": high,
                "missed_expected": sum(climb.chance for climb in stopped),
                "saved_cpu_s": _saved(record, rung, len(stopped)),
            }
        )
    return rows


def ladder_section(record: CampaignRecord) -> list[dict[str, str]]:
    """The rows for the page."""
    rows = []
    for row in ladder_summary(record):
        verdict = "No candidate below the chance asked for was let up at random, so what is missed is not known."
        if row["spared_ended"]:
            missed = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %"
            verdict = (
                f"{row['spared_ended']} of those below were let up at random, and {row['spared_hits']} of them meet "
                f"every condition: of such candidates {missed} are missed (95 %)."
            )
        elif row["spared"]:
            verdict = "Of those that were let up at random none has ended yet."
        rows.append(
            {
                "recipe": words.spaced(row["recipe"]),
                "least": f"{100 * row['least']:g} %",
                "tested": words.count(row["tested"]),
                "passed": words.count(row["passed"]),
                "stopped": words.count(row["stopped"]),
                "spared": words.count(row["spared"]),
                "expected": words.number(row["missed_expected"], decimals=2),
                "saved": "–" if row["saved_cpu_s"] is None else words.duration(row["saved_cpu_s"]),
                "verdict": verdict,
            }
        )
    return rows


def _saved(record: CampaignRecord, rung: int, stopped: int) -> float | None:
    total = 0.0
    for one in words.campaign_settings(record.settings)["ladder"]["recipes"][rung:]:
        recipe = one if isinstance(one, str) else one["recipe"]
        spent = [
            job.outcome.cpu_s or float(job.outcome.provenance.get("cpu_s", 0.0))
            for job in record.jobs
            if job.outcome is not None and job.outcome.ok and job.name.rpartition("/")[2].split("@")[0] == recipe
        ]
        if not any(spent):
            return None
        total += sum(spent) / len(spent)
    return total * stopped
