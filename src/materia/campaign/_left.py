"""What a campaign still has to find before a round, from its own picks and the round's beliefs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from materia.campaign._database import PickRow
from materia.campaign._folder import Campaign
from materia.campaign._knowledge import Knowledge
from materia.record import PickState
from materia.search import Beliefs, Conditions, PoolView, Remaining, Verdict, remaining


def still_to_find(
    campaign: Campaign,
    knowledge: Knowledge,
    conditions: Conditions,
    beliefs: Beliefs | None,
    number: int,
    *,
    cost: NDArray[np.float64],
    success: NDArray[np.float64] | None,
    verdicts: Mapping[str, Verdict],
    pinned: AbstractSet[str],
    vetoed: AbstractSet[int],
) -> Remaining | None:
    """What is left among the candidates that the campaign may still choose; None without a surrogate.

    Predictions are held against what became of the strategy's own picks. One whose calculation failed is a hit that
    was not found, so failures lower what is expected; what a person pinned or vetoed says nothing of the predictions.

    Args:
        beliefs: of the round that is about to begin.
        number: of that round.
        cost: (n,) CPU seconds that a candidate is expected to cost.
        success: (n,) probability that a candidate's calculations end well.
        verdicts: candidate id -> what was found, of every computed pick.
        pinned: ids of picks that a person wanted.
        vetoed: rows of the pool that are not to be picked.
    """
    if beliefs is None:
        return None
    rows = [row for row in campaign.database.picks() if row.pick.round < number]
    view = PoolView(
        len(campaign.pool),
        conditions,
        beliefs,
        eligible=knowledge.eligible,
        cost=cost,
        success=success,
    )
    search = campaign.settings.search
    free = view.choosable(search.max_cost_s)[0]
    picked = (row.pick.candidate_index for row in rows if row.pick.state is not PickState.VETOED)
    free[[*knowledge.labelled, *picked, *vetoed]] = False
    respected = [v for v in verdicts.values() if all(distance <= 0 for distance in v.violations.values())]
    observed = np.array([list(v.losses.values()) for v in respected], dtype=np.float64)
    return remaining(
        view,
        search,
        free,
        [_chances(rows, conditions, verdicts, pinned, n) for n in range(number)],
        sum(v.hit for v in verdicts.values()),
        observed=observed.reshape(len(respected), len(conditions.objectives)),
        seed=(campaign.settings.seed, number),
    )


def _chances(
    rows: Sequence[PickRow],
    conditions: Conditions,
    verdicts: Mapping[str, Verdict],
    pinned: AbstractSet[str],
    number: int,
) -> list[tuple[float, bool]]:
    found = []
    for row in rows:
        pick = row.pick
        own = pick.round == number and pick.candidate_id not in pinned
        if own and pick.predictions and pick.state in (PickState.COMPUTED, PickState.STOPPED, PickState.FAILED):
            chance = math.prod(conditions.chances(pick.predictions).values()) * pick.score.get("success", 1.0)
            found.append((chance, pick.candidate_id in verdicts and verdicts[pick.candidate_id].hit))
    return found
