"""Whether a pick is worth its next rung: the chance that it meets the conditions, by what is known so far."""

from __future__ import annotations

import hashlib
import math

from materia import quantities as q
from materia.campaign._dear import DEAR
from materia.campaign._folder import Campaign
from materia.campaign._knowledge import Knowledge
from materia.campaign._values import values_of
from materia.crystal import Crystal
from materia.record import Climb, Label, Pick
from materia.search import Conditions

COMPUTED, FROM_PBE, PREDICTED = "computed", "PBE gap", "predicted"


def climb_before(
    campaign: Campaign,
    knowledge: Knowledge,
    conditions: Conditions,
    pick: Pick,
    rung: int,
    structure: Crystal,
    labels: tuple[Label, ...],
) -> Climb | None:
    """The test before a rung; None where the campaign file writes none.

    A quantity that the rungs below computed either meets its conditions or does not. A gap beyond PBE has the chance
    that the map from the computed PBE gap gives it; where there is no PBE gap yet, and for anything else, that of the
    round's predictions counts. What nothing is known of speaks against no candidate. It hangs on the pick and on
    earlier rounds alone, so that the order in which jobs end changes nothing.

    Args:
        rung: index of the rung that comes next.
        structure: what it would be computed on.
        labels: of the rungs below.
    """
    settings = campaign.settings.ladder.recipes[rung]
    if settings.climb is None:
        return None
    known = values_of(structure, labels, knowledge.hull(before_round=pick.round), name=pick.candidate_id)
    chances = dict(conditions.chances(pick.predictions))
    known_by = dict.fromkeys(chances, PREDICTED)
    for name, (low, high) in conditions.intervals.items():
        if name in known:
            chances[name], known_by[name] = float(low <= known[name] <= high), COMPUTED
        elif name in DEAR and q.GAP_PBE in known:
            expected = knowledge.dear.expected(name, structure, known[q.GAP_PBE], known.get(q.BAND_OVERLAP), pick.round)
            chances[name], known_by[name] = float(expected.chance(low, high)[0]), FROM_PBE
    chance = math.prod(chances.values())
    spared = chance < settings.climb.least and _draw(campaign, pick) < settings.climb.share
    return Climb(rung, settings.recipe, chance, chances, known_by, settings.climb.least, spared)


def words(climb: Climb) -> str:
    """Why a pick was stopped, for people."""
    parts = sorted(climb.chances.items(), key=lambda part: part[1])
    by_part = ", ".join(f"{name} {_percent(chance)} ({climb.known_by[name]})" for name, chance in parts)
    return f"not worth {climb.recipe}: chance {_percent(climb.chance)}, asked {_percent(climb.least)}; {by_part}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _draw(campaign: Campaign, pick: Pick) -> float:
    """In [0, 1), the same whenever it is asked and before every rung: who is let up once is let up to the top, or
    nobody would learn whether it is a hit."""
    text = f"{campaign.settings.seed}/{pick.candidate_id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
