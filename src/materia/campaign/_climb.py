"""Moving picks up the ladder as far as the outcomes of their jobs, and the tests between them, allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from materia.campaign._climb_chance import climb_before, words
from materia.campaign._database import PickRow
from materia.campaign._folder import Campaign
from materia.campaign._knowledge import Knowledge
from materia.campaign._ladder import climbed_labels, follows, rung_job, seconds_of, structure_after
from materia.campaign._people import VETOED_BY, People
from materia.campaign._requests import Requests
from materia.campaign._validate import Validator
from materia.compute import Ledger
from materia.crystal import Crystal
from materia.record import Climb, Label, Outcome, OutcomeKind, Pick, PickState
from materia.search import Conditions, Decider


class Climber:
    """Reads outcomes, writes what becomes of picks, tells the study. Repeated after a kill at any line it ends the
    same: a pick that ended in the database and not in the study is told when both are next reconciled."""

    def __init__(
        self,
        campaign: Campaign,
        knowledge: Knowledge,
        conditions: Conditions,
        ledger: Ledger,
        requests: Requests,
        decider: Decider,
        people: People,
        validator: Validator,
    ) -> None:
        self.campaign, self.knowledge, self.conditions = campaign, knowledge, conditions
        self.ledger, self.requests, self.decider, self.people = ledger, requests, decider, people
        self.validator = validator

    def test(self, pick: Pick, rung: int, structure: Crystal, labels: tuple[Label, ...]) -> Climb | None:
        """The test before a rung, see :func:`climb_before`; what a person pinned is computed whatever its chances."""
        if pick.candidate_id in self.people.wanted():
            return None
        return climb_before(self.campaign, self.knowledge, self.conditions, pick, rung, structure, labels)

    def advance(self, row: PickRow, values: Callable[[PickRow], dict[str, float]]) -> bool:
        """Move one pick as far as its outcomes allow; whether anything changed.

        Args:
            values: what the study is told of a computed pick.
        """
        outcome = self.ledger.outcome(row.job_key) if row.pick.state is PickState.PENDING else None
        if outcome is None:
            return False
        at_top = row.rung == len(self.campaign.rungs)
        if at_top and not self.validator.ended(row):
            return False
        pick, labels = row.pick, self._labels(row.pick)  # a result is kept, wherever the candidate ends
        if outcome.kind is OutcomeKind.CANCELLED and outcome.message.startswith(VETOED_BY):
            # killed between job and pick, and the veto withdrawn before the next start
            self._end(pick, PickState.VETOED, row.structure, (), outcome.message)
            return True
        if not outcome.ok:
            self._end(pick, PickState.FAILED, row.structure, labels, _reason(outcome))
            return True
        if at_top:
            return self._computed(row, labels, values)
        done = self.campaign.settings.ladder.recipes[row.rung]
        structure, rung = structure_after(done, row.structure, outcome), row.rung + 1
        if rung == len(self.campaign.rungs):
            top = replace(row, pick=replace(pick, labels=labels), rung=rung, structure=structure)
            return self.validator.begin(top, values) or self._computed(top, labels, values)
        if follows(done, outcome) and (dear := self._too_dear(pick, rung, structure)):
            self._end(pick, PickState.STOPPED, structure, labels, dear)
            return True
        climb = self.test(pick, rung, structure, labels)
        if climb is not None and not climb.climbs:
            self._end(pick, PickState.STOPPED, structure, labels, words(climb), climb)
            return True
        spec = rung_job(self.campaign, pick.candidate_id, rung, structure)
        with self.campaign.database.transaction():
            self.campaign.database.climb(pick, rung, spec.key, structure)
            self.campaign.database.add_climb(pick.candidate_id, climb)
            self.requests.add(pick.round, spec)
        return True

    def _computed(self, row: PickRow, labels: tuple[Label, ...], values: Callable[[PickRow], dict[str, float]]) -> bool:
        pick = row.pick
        self.campaign.database.finish_pick(pick, PickState.COMPUTED, labels=labels, structure=row.structure)
        ended = next(r for r in self.campaign.database.picks(pick.round) if r.pick.slot == pick.slot)
        self.decider.tell(pick.trial_number, values(ended))
        return True

    def _end(
        self,
        pick: Pick,
        state: PickState,
        structure: Crystal,
        labels: tuple[Label, ...],
        reason: str,
        climb: Climb | None = None,
    ) -> None:
        self.campaign.database.finish_pick(pick, state, reason=reason, labels=labels, structure=structure, climb=climb)
        self.decider.tell(pick.trial_number, failure=reason)

    def _labels(self, pick: Pick) -> tuple[Label, ...]:
        """Of the rungs that the pick has completed."""
        start = self.campaign.pool.crystal(pick.candidate_index)
        return climbed_labels(self.campaign, self.ledger, start, self.knowledge.references)

    def _too_dear(self, pick: Pick, rung: int, child: Crystal) -> str:
        """Why a distorted child is left to a larger campaign, or "". The pool's candidates were held against the limit
        before they were picked; a child has more atoms and less symmetry, and nobody asked for its cost yet."""
        limit = self.campaign.settings.search.max_cost_s
        if limit is None or pick.candidate_id in self.people.wanted():
            return ""
        seconds = sum(seconds_of(self.campaign.rungs[rung:])(child))
        if seconds <= limit:
            return ""
        atoms = f"{child.n_atoms} atoms"
        return f"it distorted into a cell of {atoms}: {seconds:.0f} CPU s for the rest, search.max_cost_s is {limit:g}"


def _reason(outcome: Outcome) -> str:
    if outcome.message:
        return f"{outcome.reason}: {outcome.message}"
    return outcome.reason or outcome.kind.value
