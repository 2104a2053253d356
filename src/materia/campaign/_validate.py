"""On top of the ladder: the competing phases of what meets every condition, computed at the same level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.campaign._database import PickRow
from materia.campaign._folder import Campaign
from materia.campaign._knowledge import Knowledge
from materia.campaign._labels import formation_energy
from materia.campaign._ladder import walk
from materia.campaign._learning import learned_quantities
from materia.campaign._phases import compared, of_system, phase_job, relaxed, to_compute, verdict
from materia.campaign._requests import Requests
from materia.compute import Ledger
from materia.errors import SearchError
from materia.quantities import FORMATION_ENERGY
from materia.record import Candidate
from materia.search import Conditions


class Validator:
    """Adds the jobs of competing phases, and says when all have ended. What it chooses hangs on the pick and on earlier
    rounds alone, so that the order in which jobs end changes nothing."""

    def __init__(
        self, campaign: Campaign, knowledge: Knowledge, conditions: Conditions, ledger: Ledger, requests: Requests
    ) -> None:
        self.campaign, self.knowledge, self.conditions = campaign, knowledge, conditions
        self.ledger, self.requests = ledger, requests

    def begin(self, row: PickRow, values: Callable[[PickRow], Mapping[str, float]]) -> bool:
        """Write down which phases a candidate is held against, with the intent of their jobs; False where nothing has
        to be waited for: the campaign asks for none, the candidate falls short of the conditions, or no phase is open.

        Args:
            row: of a pick whose last rung has ended.
            values: of a pick, quantity -> value, as the study would be told.
        """
        settings = self.campaign.settings.ladder
        if settings.competing is None or not self._meets(values(row)):
            return False
        pick, level = row.pick, settings.own
        found = of_system(settings.competing, row.structure.elements, self.campaign.known)
        others = [structure for _, structure, _ in self.knowledge.phases(before_round=pick.round)]
        start = self.campaign.pool.crystal(pick.candidate_index)
        phases = to_compute(
            found,
            level,
            unlike=[row.structure, start, *others],
            least=settings.competing.least,
            predicted=self._predicted(pick.round, found),
            hull=self.knowledge.hull(before_round=pick.round),
        )
        top, ranks = len(self.campaign.rungs), self.campaign.settings.compute.ranks
        with self.campaign.database.transaction():
            self.campaign.database.climb(pick, top, row.job_key, row.structure)
            self.campaign.database.add_phases(pick, phases)
            for phase in phases:
                self.requests.add(pick.round, phase_job(phase, pick.candidate_id, level, stage=top, ranks=ranks))
        return bool(phases)

    def ended(self, row: PickRow) -> bool:
        """Whether the jobs of all competing phases of a candidate have ended, well or not."""
        _, phases = compared(self.campaign.database)[row.pick.candidate_id]
        return all(self.ledger.outcome(phase.key) is not None for phase in phases)

    def _meets(self, values: Mapping[str, float]) -> bool:
        try:
            return self.conditions.evaluate(values).hit
        except SearchError:  # a quantity is not known: nobody can say that it meets the conditions
            return False

    def _predicted(
        self, number: int, found: Sequence[Candidate]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Formation energies by the round's surrogate; None without one that predicts them."""
        folder = self.campaign.folder / "models" / str(number)
        learned = self.campaign.settings.surrogate is not None and FORMATION_ENERGY in learned_quantities(self.campaign)
        if not learned or not found:
            return None
        mean, std = _model(str(folder)).predict([c.crystal for c in found]).column(FORMATION_ENERGY)
        return np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)


@lru_cache(maxsize=1)
def _model(folder: str) -> Any:
    from materia.surrogate import Surrogate

    return Surrogate.load(folder)


def validations(campaign: Campaign, knowledge: Knowledge, ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Candidate id -> what came of its competing phases, for every computed candidate that was held against some.

    ``validated``; ``because``: why not, or ""; ``phases``: for each ``name``, ``prototype``, ``formula``, ``chance``
    (see :class:`materia.campaign._phases.Phase`), ``state`` (``computed``, or the reason of its failure),
    ``formation_energy`` and ``above_hull`` (eV/atom; None where it failed). ``rivals``: the mixture of other phases
    that the candidate's distance to the hull is measured from, as name -> share of the atoms.
    """
    hull = knowledge.hull()
    elements = set() if knowledge.references is None else set(knowledge.references.elements)
    picks = {row.pick.candidate_id: row for row in campaign.database.picks() if row.pick.labelled}
    found = {}
    for name, (_, phases) in compared(campaign.database).items():
        if name not in picks:
            continue
        row = picks[name]
        outcomes = {phase.key: ledger.outcome(phase.key) for phase in phases}
        kept = _kept_structure(campaign, ledger, row)
        because = verdict(phases, outcomes, kept=kept, known=elements, elements=set(row.structure.elements))
        rows = []
        for phase in phases:
            ended, outcome = relaxed(phase, outcomes[phase.key]), outcomes[phase.key]
            energy = None if ended is None else formation_energy(*ended, knowledge.references)
            above = None if energy is None else hull.energy_above_hull(phase.crystal.composition, energy)
            rows.append(
                {
                    "name": phase.name,
                    "prototype": phase.prototype,
                    "formula": phase.crystal.formula,
                    "chance": phase.chance,
                    "state": "computed" if ended is not None else "" if outcome is None else outcome.reason,
                    "formation_energy": energy,
                    "above_hull": above,
                }
            )
        names = {f"competing/{phase.key}": phase.name for phase in phases}
        rivals = hull.decomposition(row.structure.composition, exclude=name)
        found[name] = {
            "validated": not because,
            "because": because,
            "phases": rows,
            "rivals": {names.get(rival, rival): share for rival, share in rivals.items()},
        }
    return found


def _kept_structure(campaign: Campaign, ledger: Ledger, row: PickRow) -> bool:
    """Whether DFT left the candidate the structure type that it gave it."""
    way = walk(campaign.settings.ladder, campaign.rungs, ledger, campaign.pool.crystal(row.pick.candidate_index))
    own = campaign.settings.ladder.level
    by_dft = [outcome for (_, outcome), (_, level) in zip(way.jobs, campaign.rungs, strict=False) if level.name == own]
    return all(outcome.values.get("prototype_kept", True) for outcome in by_dft)
