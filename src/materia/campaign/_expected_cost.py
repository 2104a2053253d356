"""What a candidate is expected to cost on a ladder with tests: dear rungs count as often as it gets there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from materia import quantities as q
from materia.campaign._dear import DEAR
from materia.campaign._folder import Campaign
from materia.campaign._knowledge import Knowledge
from materia.campaign._labels import given_by
from materia.search import Beliefs, Conditions, scenarios


def expected_costs(
    campaign: Campaign, knowledge: Knowledge, conditions: Conditions, beliefs: Beliefs | None, before_round: int
) -> NDArray[np.float64]:
    """(n,) CPU seconds of the rungs, times the probability that a candidate gets there that has begun.

    What the rungs below a test will say is not known yet; the probability that they let the candidate go on follows
    from the round's beliefs about them. Those that fall short go on in the share that the file lets up at random.
    Without tests, or without a surrogate, it is the cost of the whole ladder.

    Args:
        beliefs: of the round.
        before_round: what later picks found is not used.
    """
    rungs = campaign.settings.ladder.recipes
    if beliefs is None or all(rung.climb is None for rung in rungs):
        return knowledge.costs
    chances = {name: np.exp(log) for name, log in conditions.log_probabilities(beliefs).items()}
    passed, reached, total = np.ones(beliefs.n), np.ones(beliefs.n), np.zeros(beliefs.n)
    known: set[str] = set()
    for k, rung in enumerate(rungs):
        if rung.climb is not None and k > 0:
            passed = passed * _passes(knowledge, conditions, beliefs, chances, known, rung.climb.least, before_round)
            reached = passed + (1 - passed) * rung.climb.share  # who is let up once is let up to the top
        total += reached * knowledge.rung_costs[:, k]
        known |= given_by(rung.recipe, electrons=campaign.rungs[k][1].potential is None)
    return total


def _passes(
    knowledge: Knowledge,
    conditions: Conditions,
    beliefs: Beliefs,
    chances: dict[str, NDArray[np.float64]],
    known: set[str],
    least: float,
    before_round: int,
) -> NDArray[np.float64]:
    """(n,) probability of passing a test once these quantities are known."""
    met = np.prod([chance for name, chance in chances.items() if name in known] or [np.ones(beliefs.n)], axis=0)
    rest = np.prod(
        [chance for name, chance in chances.items() if name not in known and name not in DEAR] or [np.ones(beliefs.n)],
        axis=0,
    )
    dear = [name for name in DEAR if name in conditions.intervals]
    if q.GAP_PBE in known and q.GAP_PBE in beliefs.quantities and dear:
        passed = np.zeros(beliefs.n)
        for weight, gap in scenarios(beliefs.uncertain(q.GAP_PBE)):
            chance = rest
            for name in dear:
                expected = knowledge.dear.in_pool(name, gap, before_round)
                chance = chance * expected.chance(*conditions.intervals[name])
            passed += weight * (chance >= least)
        return np.asarray(met * passed, dtype=np.float64)
    for name in dear:
        rest = rest * chances[name]
    return np.asarray(met * (rest >= least), dtype=np.float64)
