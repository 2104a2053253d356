"""How likely each candidate's calculations are to end well, from those of the campaign and of its dataset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from materia.campaign._database import PickRow
from materia.campaign._folder import Campaign
from materia.compute import Ledger
from materia.crystal import Crystal
from materia.record import OutcomeKind, PickState
from materia.search import cell_features, chance_of_success, composition_features

# The rest says nothing about the material: a node that died, a person who cancelled, a queue that refused.
_OF_THE_MATERIAL = (OutcomeKind.FAILED, OutcomeKind.CRASHED, OutcomeKind.TIMEOUT, OutcomeKind.OUT_OF_MEMORY)


class Successes:
    """What is learned from calculations that ended. It hangs on the picks of earlier rounds alone, so that the order in
    which the jobs of a round end changes nothing."""

    def __init__(self, campaign: Campaign, ledger: Ledger) -> None:
        self.campaign, self.ledger = campaign, ledger
        self._features: NDArray[np.float32] | None = None
        self._known: tuple[int, NDArray[np.float64] | None] | None = None

    def before(self, number: int) -> NDArray[np.float64] | None:
        """(n,) probability for every candidate of the pool, before a round; None where failures are not heeded, or too
        few calculations have ended either way."""
        if self.campaign.settings.search.failures == "drop":
            return None
        if self._known is None or self._known[0] != number:
            self._known = (number, self._learn(number))
        return self._known[1]

    def _learn(self, number: int) -> NDArray[np.float64] | None:
        picks = [row for row in self.campaign.database.picks() if row.pick.round < number]
        ended = [(r.pick.candidate_index, r.pick.state is not PickState.FAILED) for r in picks if self._tells(r)]
        n, dataset = len(self.campaign.pool), list(self.campaign.dataset)
        ended += [(n + k, entry.status == "computed") for k, entry in enumerate(dataset)]
        if all(well for _, well in ended):
            return None
        if self._features is None:
            self._features = self._describe([entry.initial for entry in dataset], [e.prototype for e in dataset])
        rows, well = (np.array(column) for column in zip(*ended, strict=True))
        chance = chance_of_success(self._features, rows, well.astype(bool), self.campaign.settings.seed + number)
        return None if chance is None else chance[:n]

    def _tells(self, row: PickRow) -> bool:
        """Whether how a pick ended says something about the material."""
        if row.pick.labelled:
            return True
        outcome = self.ledger.outcome(row.job_key) if row.pick.state is PickState.FAILED else None
        return outcome is not None and outcome.kind in _OF_THE_MATERIAL

    def _describe(self, others: list[Crystal], prototypes: list[str]) -> NDArray[np.float32]:
        """(n + m, 93) what is known without a calculation, of the pool and of other structures before relaxation."""
        pool = self.campaign.pool
        crystals = [*(pool.crystal(i) for i in range(len(pool))), *others]
        first: dict[str, int] = {}
        of_formula = [first.setdefault(crystal.formula, i) for i, crystal in enumerate(crystals)]
        each, place = np.unique(of_formula, return_inverse=True)
        composition = composition_features([crystals[i] for i in each])[place]
        kinds = np.unique([*pool.prototypes, *prototypes], return_inverse=True)[1]
        return np.column_stack([composition, cell_features(crystals, kinds)]).astype(np.float32)
