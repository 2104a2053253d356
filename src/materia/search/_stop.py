"""When a campaign has done enough. Further rules belong here."""

from __future__ import annotations

from materia.search._remaining import Effort, Remaining
from materia.search._settings import SearchSettings, StopSettings


def finished(settings: SearchSettings, rounds_closed: int, left: Remaining | None = None) -> str:
    """Why the campaign ends now, or an empty string while it goes on.

    Args:
        settings: with the rules.
        rounds_closed: so far.
        left: what is still to be found; without it the rules on that say nothing.
    """
    if rounds_closed >= settings.rounds:
        return f"all {settings.rounds} rounds are closed"
    if settings.stop is None or left is None or rounds_closed < settings.stop.not_before:
        return ""
    return enough(settings.stop, left)


def enough(rules: StopSettings, left: Remaining) -> str:
    """Which rule holds, in words; an empty string while none does."""
    most, certainty = left.at_most(rules.certainty), f"{rules.certainty:.0%}".replace("%", " %")
    share = most / (left.found + most) if most else 0.0
    if rules.remaining_hits is not None and most <= rules.remaining_hits:
        return f"with {certainty} certainty no more than {most} hits are left (remaining_hits: {rules.remaining_hits})"
    if rules.remaining_share is not None and share <= rules.remaining_share:
        return (
            f"with {certainty} certainty no more than {most} hits are left beside {left.found} found "
            f"(remaining_share: {rules.remaining_share:g})"
        )
    calculations = None if left.next_hit is None else float(left.next_hit.calculations)
    if (dear := _dear(left, calculations, rules.calculations_per_hit, "calculations")) != "":
        return f"{dear} (calculations_per_hit: {rules.calculations_per_hit:g})"
    if (dear := _dear(left, _cpu_hours(left.next_hit), rules.cpu_hours_per_hit, "CPU hours")) != "":
        return f"{dear} (cpu_hours_per_hit: {rules.cpu_hours_per_hit:g})"
    room = left.room
    if rules.hypervolume_share is not None and room is not None and room.certain <= rules.hypervolume_share:
        return (
            f"with {certainty} certainty all that is left adds no more than {room.certain:.1%} of the hypervolume "
            f"(hypervolume_share: {rules.hypervolume_share:g})"
        )
    return ""


def _dear(left: Remaining, price: float | None, limit: float | None, unit: str) -> str:
    """In words, that the next hit costs more than the limit; empty where it does not, or there is none."""
    if limit is None:
        return ""
    if left.next_hit is None:
        return f"no more than {left.expected:.2f} hits are expected in all that is left"
    return f"the next hit is expected to cost {price:.4g} {unit}" if price is not None and price > limit else ""


def _cpu_hours(effort: Effort | None) -> float | None:
    return None if effort is None or effort.cpu_s is None else effort.cpu_s / 3600
