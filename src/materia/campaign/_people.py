"""People in the loop: at every step the driver does what was decided since the last one."""

from __future__ import annotations

import math
from collections.abc import Callable

from materia.campaign._database import PickRow
from materia.campaign._folder import Campaign
from materia.campaign._knowledge import Knowledge
from materia.campaign._ladder import rung_job
from materia.campaign._overrides import Overrides
from materia.campaign._phases import compared
from materia.campaign._requests import Requests
from materia.compute import JobManager
from materia.errors import SpaceError
from materia.record import OutcomeKind, Override, OverrideKind, OverrideState, PickState
from materia.search import Beliefs, Conditions, Decider

VETOED_BY = "vetoed by "
"""What the reason of a vetoed pick, and of the job that was cancelled with it, begins with."""


class People:
    """Pins, vetoes and approvals of an open campaign. The caller holds the campaign's lock.

    A veto comes before everything: a pinned or proposed candidate that is vetoed is not submitted.
    """

    def __init__(
        self,
        campaign: Campaign,
        knowledge: Knowledge,
        manager: JobManager,
        requests: Requests,
        decider: Decider,
    ) -> None:
        self.campaign, self.knowledge = campaign, knowledge
        self.manager, self.requests, self.decider = manager, requests, decider
        self.overrides = Overrides(campaign.database, campaign.folder)

    @property
    def asked(self) -> bool:
        """Whether picks wait for a person's approval."""
        return self.campaign.settings.search.approval == "required"

    def heed(self, round_number: int | None) -> None:
        """Take in what was decided, cancel picks that were vetoed, submit those that were approved.

        Args:
            round_number: the round that is open, or the last one; None before the first.
        """
        self.overrides.take_in(round_number, self._objection)
        vetoes = self.overrides.standing(OverrideKind.VETO)
        approvals = self.overrides.standing(OverrideKind.APPROVE) if self.asked else {}
        if round_number is None or not (vetoes or approvals):
            return
        for row in self.campaign.database.picks(round_number):
            name = row.pick.candidate_id
            if row.pick.state.open and name in vetoes:
                self._cancel(row, vetoes[name])
            elif row.pick.state is PickState.PROPOSED and name in approvals:
                self._submit(row)

    def pins(self) -> list[int]:
        """Rows of the pool that are to be picked next, in order. One that this round took back waits for the next."""
        database = self.campaign.database
        now = {r.pick.candidate_id for n, state in database.rounds() if state == "open" for r in database.picks(n)}
        out = now | set(self.overrides.standing(OverrideKind.VETO))
        return [self.campaign.pool.index(n) for n in self.overrides.standing(OverrideKind.PIN) if n not in out]

    def vetoed(self) -> set[int]:
        """Rows of the pool that are not to be picked."""
        return {self.campaign.pool.index(name) for name in self.overrides.standing(OverrideKind.VETO)}

    def wanted(self) -> set[str]:
        """Ids of candidates that a person pinned, picked already or not."""
        return self.pinned() | set(self.overrides.standing(OverrideKind.PIN))

    def pinned(self) -> set[str]:
        """Ids of picks that a person wanted."""
        return self.overrides.honoured(OverrideKind.PIN)

    def pin_of(self, candidate_id: str) -> Override | None:
        """The pin that stands on a candidate."""
        return self.overrides.standing(OverrideKind.PIN).get(candidate_id)

    def judge(self, conditions: Conditions, beliefs: Callable[[], Beliefs | None]) -> None:
        """Keep what is predicted about pinned and vetoed candidates, once for each."""
        waiting = self.overrides.unjudged()
        found = beliefs() if waiting else None
        if found is None:
            return
        for override in waiting:
            at = found.at(self.campaign.pool.index(override.candidate_id))
            if all(math.isfinite(number) for belief in at.values() for number in belief.values()):
                chances = conditions.chances(at)
                self.overrides.judge(override, at, math.prod(chances.values()) if chances else None)

    def _objection(self, override: Override) -> str:
        """Why a decision comes to nothing, as things stand now."""
        name, kind = override.candidate_id, override.kind
        try:
            index = self.campaign.pool.index(name)
        except SpaceError as error:
            return error.what
        if self.campaign.database.meta().get("state") == "finished":
            return "the campaign had finished"
        picks = [row.pick for row in self.campaign.database.picks() if row.pick.candidate_id == name]
        last = picks[-1] if picks else None
        place = "" if last is None else f"picked in round {last.round} already, and {last.state.value}"
        free = last is None or last.state is PickState.VETOED
        if kind is OverrideKind.PIN:
            if not self.knowledge.eligible[index]:
                return "a quantity that the conditions ask for cannot be known for its elements"
            if index in self.knowledge.labelled:
                return "labelled in the starting dataset"
            return "" if free else place
        if kind is OverrideKind.VETO:
            return "" if free or (last is not None and last.state.open) else place
        if not self.asked:
            return "this campaign submits its picks without approval"
        return place if last is not None and last.state is not PickState.PROPOSED else ""

    def _cancel(self, row: PickRow, veto: Override) -> None:
        """Take a pick back. Repeated after a kill at any line it ends the same."""
        pick, database = row.pick, self.campaign.database
        reason = f"{VETOED_BY}{veto.who}: {veto.why}"
        if pick.state is PickState.PENDING:
            others = (r for r in database.picks(pick.round) if r.pick.candidate_id != pick.candidate_id)
            pending = {r.pick.candidate_id: r.job_key for r in others if r.pick.state is PickState.PENDING}
            shared = set(pending.values())
            shared |= {x.key for name, (_, found) in compared(database).items() if name in pending for x in found}
            if row.job_key not in shared:
                self.manager.cancel([row.job_key], reason)
            outcome = self.manager.ledger.outcome(row.job_key)
            last = row.rung + 1 >= len(self.campaign.rungs)  # above it are its competing phases
            ended = outcome is not None and outcome.kind is not OutcomeKind.CANCELLED and (last or not outcome.ok)
            if ended:  # the answer is there: it is not thrown away
                with database.transaction():
                    note = "its calculations had ended"
                    self.overrides.settle(OverrideKind.VETO, pick.candidate_id, OverrideState.VOID, note)
                return
        with database.transaction():  # an approval was of this pick, not of one that may come after the veto
            self.overrides.settle(OverrideKind.APPROVE, pick.candidate_id, OverrideState.VOID, reason)
        database.finish_pick(pick, PickState.VETOED, reason=reason, structure=row.structure)
        self.decider.tell(pick.trial_number, failure=reason)

    def _submit(self, row: PickRow) -> None:
        pick = row.pick
        spec = rung_job(self.campaign, pick.candidate_id, 0, row.structure)
        with self.campaign.database.transaction():
            self.campaign.database.set_pending(pick)
            self.requests.add(pick.round, spec)
            note = f"round {pick.round}, pick {pick.slot}"
            self.overrides.settle(OverrideKind.APPROVE, pick.candidate_id, OverrideState.HONOURED, note)
