"""The loop: predict, pick, submit, collect, retrain. One idempotent tick at a time, state on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from materia.campaign._climb import Climber
from materia.campaign._climb_chance import words
from materia.campaign._database import PickRow
from materia.campaign._dossier import dossier
from materia.campaign._expected_cost import expected_costs
from materia.campaign._folder import Campaign, now, open_campaign
from materia.campaign._knowledge import Knowledge
from materia.campaign._ladder import dataset_store, rung_job, stores_named
from materia.campaign._learning import PoolPredictions, predict_pool
from materia.campaign._left import still_to_find
from materia.campaign._outputs import write_outputs
from materia.campaign._people import People
from materia.campaign._requests import Requests
from materia.campaign._success import Successes
from materia.campaign._validate import Validator
from materia.campaign._values import values_of
from materia.compute import JobManager, Ledger, open_backend
from materia.errors import PoolExhaustedError
from materia.record import CampaignRecord, OverrideKind, OverrideState, Pick, PickState, load_campaign
from materia.search import Beliefs, Conditions, Decider, Remaining, finished

# A pause between two ticks: so many times what the last took, this share of the time since anything happened; at most
PAUSE_PER_TICK, PAUSE_SHARE, LONGEST_PAUSE_S = 20.0, 0.02, 2.0


class Phase(StrEnum):
    """What a step did, or what the campaign waits for."""

    TRAINED = "trained"
    PICKED = "picked"
    COMPUTING = "computing"
    CLOSED = "closed a round"
    FINISHED = "finished"


@dataclass(frozen=True)
class Step:
    """One tick.

    Attributes:
        phase: what it did.
        message: one line for people.
        waiting: nothing to do before a calculation ends.
    """

    phase: Phase
    message: str
    waiting: bool = False


class Driver:
    """Holds an open campaign and turns its circle. Everything it remembers is rebuilt from disk."""

    def __init__(self, campaign: Campaign, *, progress: bool = False) -> None:
        self.campaign, self.progress = campaign, progress
        self.knowledge = Knowledge(campaign)
        self.conditions = Conditions(campaign.settings.objectives, campaign.settings.constraints)
        self.ledger = Ledger(campaign.database.connection)
        self.ledger.create_tables()
        self.manager = JobManager(
            self.ledger,
            open_backend(campaign.settings.compute),
            campaign.folder,
            stores=[*stores_named(campaign.settings.compute.stores), dataset_store(campaign.dataset)],
            retries=campaign.settings.compute.retries,
        )
        self.requests = Requests(campaign, self.ledger, self.manager.backend)
        self.successes = Successes(campaign, self.ledger)
        pool = campaign.pool
        self.decider = Decider(
            campaign.folder / "optuna.journal",
            campaign.settings.name,
            self.conditions,
            campaign.settings.search,
            ids=pool.ids,
            seed=campaign.settings.seed,
            groups={
                "prototype": pool.prototypes,
                "chemistry": ["-".join(pool.crystal(i).elements) for i in range(len(pool))],
            },
            exclude=set(self.knowledge.labelled),
            formulas=pool.formulas,
        )
        rows = campaign.database.picks()
        values = {r.pick.trial_number: self._values(r) for r in rows if r.pick.state is PickState.COMPUTED}
        self.decider.reconcile([row.pick for row in rows], values)
        self.people = People(campaign, self.knowledge, self.manager, self.requests, self.decider)
        self.climber = Climber(
            campaign,
            self.knowledge,
            self.conditions,
            self.ledger,
            self.requests,
            self.decider,
            self.people,
            Validator(campaign, self.knowledge, self.conditions, self.ledger, self.requests),
        )
        self._predictions: tuple[int, PoolPredictions] | None = None
        self._believed: tuple[int, Beliefs | None] | None = None
        self._expected: tuple[int, np.ndarray] | None = None
        self._known_left: tuple[int, Remaining | None] | None = None

    def step(self) -> Step:
        """Do the next thing that can be done. Safe to repeat, and to kill at any line.

        Raises:
            MateriaError: what a person has to see to; the campaign stays as it is.
        """
        self.campaign.lock.check()  # a driver that was taken for dead and replaced must not write on
        database, search = self.campaign.database, self.campaign.settings.search
        rounds = database.rounds()
        self.people.heed(rounds[-1][0] if rounds else None)
        meta = database.meta()
        if meta.get("state") == "finished":
            trouble = "" if meta.get("outputs") == "written" else self._last_outputs()
            return Step(Phase.FINISHED, "the campaign is finished" + (f" ({trouble})" if trouble else ""))
        open_rounds = [number for number, state in rounds if state == "open"]
        if not open_rounds:
            rules = search.stop is not None and len(rounds) < search.rounds
            reason = finished(search, len(rounds), self._left(len(rounds)) if rules else None)
            if reason and not self.people.pins():  # what a person pinned is computed, in a round of its own if need be
                return self._finish(len(rounds), reason)
            return self._open_round(len(rounds), pins_only=bool(reason))
        number = open_rounds[0]
        self.people.judge(self.conditions, lambda: self._beliefs(number, self._predict(number)))
        rows = database.picks(number)
        if self._wants_more(number, rows):
            return self._pick(number, len(rows))
        if any(row.pick.state.open for row in rows):
            return self._compute(number, rows)
        database.close_round(number)
        trouble = write_outputs(self.campaign, self.knowledge, self.conditions)
        return Step(Phase.CLOSED, f"round {number}: {self._tally(rows)}" + (f" ({trouble})" if trouble else ""))

    def _wants_more(self, number: int, rows: list[PickRow]) -> bool:
        """Whether the round has places left: those of vetoed picks are filled again."""
        search = self.campaign.settings.search
        kept = sum(row.pick.state is not PickState.VETOED for row in rows)
        if kept >= search.batch or self._exhausted(number):
            return False
        over = number in self.campaign.database.meta().get("pins_only", [])
        return (number < search.rounds and not over) or bool(self.people.pins())

    def _open_round(self, number: int, *, pins_only: bool) -> Step:
        """Begin a round; ``pins_only``: the campaign is at its end but for what people pinned."""
        predictions, database = self._predict(number), self.campaign.database
        left = self._remaining_with(number)
        beyond = database.meta().get("pins_only", [])
        with database.transaction():
            database.set_meta(left | ({"pins_only": sorted({*beyond, number})} if pins_only else {}))
        self.requests.open_round(number)
        self.campaign.database.open_round(number, predictions.n_labelled, predictions.metrics)
        return Step(Phase.TRAINED, f"round {number}: surrogate trained on {predictions.n_labelled} labelled structures")

    def _predict(self, number: int) -> PoolPredictions:
        if self._predictions is None or self._predictions[0] != number:
            self._predictions = (number, predict_pool(self.campaign, number, progress=self.progress))
        return self._predictions[1]

    def _exhausted(self, number: int) -> bool:
        return self.campaign.database.meta().get("exhausted") == number

    def _pick(self, number: int, slot: int) -> Step:
        """Ask the study, then commit the pick and the intent of its first job in one transaction."""
        database, pool = self.campaign.database, self.campaign.pool
        predictions = self._predict(number)
        before = database.picks()
        # Where a veto was withdrawn, later rounds may pick the candidate again; where it stands it is among the vetoed.
        back = {r.pick.trial_number for r in before if r.pick.state is PickState.VETOED and r.pick.round < number}
        beliefs = self._beliefs(number, predictions)
        pinned = next(iter(self.people.pins()), None)
        if pinned is not None and beliefs is not None and not beliefs.usable(self.conditions.quantities)[pinned]:
            note = "the surrogate predicts nothing finite for it"
            with database.transaction():
                self.people.overrides.settle(OverrideKind.PIN, pool.ids[pinned], OverrideState.VOID, note)
            return Step(Phase.PICKED, f"round {number}: {pool.ids[pinned]} is pinned, but {note}")
        try:
            decision = self.decider.ask(
                number,
                slot,
                beliefs=beliefs,
                embedding=predictions.embedding,
                eligible=self.knowledge.eligible,
                taken={r.pick.candidate_index for r in before if r.pick.trial_number not in back}
                | self.people.vetoed(),
                cost=self._costs(number),
                success=self.successes.before(number),
                pinned=pinned,
                released=back,
            )
        except PoolExhaustedError:
            if slot == 0:
                raise
            with database.transaction():
                database.set_meta({"exhausted": number})
            return Step(Phase.PICKED, f"round {number}: no eligible candidate is left for slot {slot}")
        crystal = pool.crystal(decision.index)
        spec = rung_job(self.campaign, pool.ids[decision.index], 0, crystal)
        pick = Pick(
            round=number,
            slot=slot,
            candidate_id=pool.ids[decision.index],
            candidate_index=decision.index,
            trial_number=decision.trial_number,
            predictions={} if beliefs is None else beliefs.at(decision.index),
            score=decision.score,
            state=PickState.PROPOSED if self.people.asked else PickState.PENDING,
        )
        pin = self.people.pin_of(pick.candidate_id) if decision.pinned else None
        climb = self.climber.test(pick, 0, crystal, ())
        if climb is not None and not climb.climbs:
            pick = replace(pick, state=PickState.STOPPED, reason=words(climb))
        why = dossier(self.knowledge, self.conditions, pick, decision, predictions, pin)
        with database.transaction():
            database.add_pick(PickRow(pick, 0, spec.key, crystal))
            database.add_dossier(pick.candidate_id, why)
            database.add_climb(pick.candidate_id, climb)
            if pin is not None:
                note = f"round {number}, pick {slot}"
                self.people.overrides.settle(OverrideKind.PIN, pick.candidate_id, OverrideState.HONOURED, note)
            if pick.state is PickState.PENDING:
                self.requests.add(number, spec)
        if pick.state is PickState.STOPPED:
            self.decider.tell(pick.trial_number, failure=pick.reason)
            return Step(Phase.PICKED, f"round {number}, pick {slot}: {pick.candidate_id}, {pick.reason}")
        wanted = " (pinned)" if pin is not None else ""
        return Step(Phase.PICKED, f"round {number}, pick {slot}: {pick.candidate_id}{wanted}")

    def _beliefs(self, number: int, predictions: PoolPredictions) -> Beliefs | None:
        if self._believed is None or self._believed[0] != number:
            self._believed = (number, self.knowledge.beliefs(predictions, before_round=number))
        return self._believed[1]

    def _costs(self, number: int) -> np.ndarray:
        """(n,) what each candidate is expected to cost, as of the start of a round."""
        if self._expected is None or self._expected[0] != number:
            beliefs = self._beliefs(number, self._predict(number))
            costs = expected_costs(self.campaign, self.knowledge, self.conditions, beliefs, number)
            self._expected = (number, costs)
        return self._expected[1]

    def _left(self, number: int) -> Remaining | None:
        """What is still to be found before a round."""
        if self._known_left is None or self._known_left[0] != number:
            computed = [r for r in self.campaign.database.picks() if r.pick.state is PickState.COMPUTED]
            left = still_to_find(
                self.campaign,
                self.knowledge,
                self.conditions,
                self._beliefs(number, self._predict(number)),
                number,
                cost=self._costs(number),
                success=self.successes.before(number),
                verdicts={r.pick.candidate_id: self.conditions.evaluate(self._values(r)) for r in computed},
                pinned=self.people.pinned(),
                vetoed=self.people.vetoed(),
            )
            self._known_left = (number, left)
        return self._known_left[1]

    def _remaining_with(self, number: int) -> dict[str, Any]:
        """The meta entry of what was still to be found before each round, this one's added."""
        left, before = self._left(number), self.campaign.database.meta().get("remaining", {})
        return {} if left is None else {"remaining": {**before, str(number): left.to_json()}}

    def _compute(self, number: int, rows: list[PickRow]) -> Step:
        self.manager.advance()
        moved = sum(self.climber.advance(row, self._values) for row in rows)
        if moved:
            rows = self.campaign.database.picks(number)
        pending = sum(row.pick.state is PickState.PENDING for row in rows)
        proposed = sum(row.pick.state is PickState.PROPOSED for row in rows)
        message = f"round {number}: {len(rows) - pending - proposed} done, {pending} computing"
        message += f", {proposed} waiting for approval" if proposed else ""
        if self.manager.trouble:
            message += f" ({self.manager.trouble})"
        return Step(Phase.COMPUTING, message, waiting=moved == 0)

    def _values(self, row: PickRow) -> dict[str, float]:
        """As told to the study: against the hull of the phases known before the pick's round and of its own competing
        phases, so that the order in which jobs finish changes nothing."""
        hull = self.knowledge.hull(before_round=row.pick.round, of=row)
        return values_of(row.structure, row.pick.labels, hull, name=row.pick.candidate_id)

    def _finish(self, rounds: int, reason: str) -> Step:
        last = self._predict(rounds)  # the last results train a last model, which ranks what is left
        self.people.judge(self.conditions, lambda: self._beliefs(rounds, last))
        end = {"state": "finished", "finished": now(), "stopped_because": reason, **self._remaining_with(rounds)}
        with self.campaign.database.transaction():
            self.campaign.database.set_meta(end)
        trouble = self._last_outputs()
        return Step(Phase.FINISHED, f"finished: {reason}" + (f" ({trouble})" if trouble else ""))

    def _last_outputs(self) -> str:
        """Written once more by the next step where a kill or a tracking server that is away leaves them unfinished."""
        trouble = write_outputs(self.campaign, self.knowledge, self.conditions)
        if not trouble:
            with self.campaign.database.transaction():
                self.campaign.database.set_meta({"outputs": "written"})
        return trouble

    @staticmethod
    def _tally(rows: list[PickRow]) -> str:
        states = [row.pick.state for row in rows]
        told = [(state, states.count(state)) for state in (PickState.COMPUTED, PickState.STOPPED, PickState.FAILED)]
        told.append((PickState.VETOED, states.count(PickState.VETOED)))
        always = (PickState.COMPUTED, PickState.FAILED)
        return ", ".join(f"{n} {state.value}" for state, n in told if n or state in always)


@contextmanager
def open_driver(file: Path | None, folder: Path, *, progress: bool = False, override: str = "") -> Iterator[Driver]:
    """A driver on a campaign folder; made from ``file`` if there is none yet."""
    with open_campaign(file, folder, progress=progress, override=override) as campaign:
        yield Driver(campaign, progress=progress)


def step(folder: str | Path, file: str | Path | None = None, *, override: str = "") -> Step:
    """One tick of a campaign, as from cron; ``override`` as for :func:`run`."""
    with open_driver(None if file is None else Path(file), Path(folder), override=override) as driver:
        return driver.step()


def run(
    file: str | Path | None,
    folder: str | Path,
    *,
    progress: bool = False,
    on_step: Callable[[Step, Driver], None] | None = None,
    seconds: float | None = None,
    override: str = "",
) -> CampaignRecord:
    """Run a campaign to its end, or resume it; returns its record.

    Args:
        file: campaign file; ``None`` resumes what the folder holds.
        folder: campaign folder.
        progress: show progress bars of long work.
        on_step: called after every tick.
        seconds: leave between two ticks after this time, but not before one was done; the record's ``state`` then
            says that the campaign is still running. ``None``: never.
        override: reason for which the campaign starts although its plan does not speak for it (``search.plan:
            required``); kept with who gave it and when.
    """
    folder, deadline = Path(folder), math.inf if seconds is None else time.monotonic() + seconds
    with open_driver(None if file is None else Path(file), folder, progress=progress, override=override) as driver:
        moved = time.monotonic()
        while True:
            begun = time.monotonic()
            done = driver.step()
            ended = time.monotonic()
            moved = moved if done.waiting else ended
            if on_step is not None:
                on_step(done, driver)
            left = deadline - time.monotonic()
            if done.phase is Phase.FINISHED or left <= 0:
                break
            if done.waiting:
                interval = driver.manager.backend.poll_interval_s
                time.sleep(min(_pause(interval, ended - begun, ended - moved), left))
    return load_campaign(folder)


def _pause(interval_s: float, took_s: float, waited_s: float) -> float:
    """Seconds until the next tick, so that a driver that waits for long jobs leaves the cores to them.

    Args:
        interval_s: the backend's, and the least.
        took_s: by the last tick.
        waited_s: since anything happened.
    """
    return max(interval_s, min(max(PAUSE_PER_TICK * took_s, PAUSE_SHARE * waited_s), LONGEST_PAUSE_S))
