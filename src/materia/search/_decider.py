"""Ask, tell and reconcile: the study as a campaign uses it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from materia.errors import SearchError
from materia.record import Pick, PickState
from materia.search._beliefs import Beliefs
from materia.search._conditions import Conditions, Verdict
from materia.search._sampler import CHOICE, ORPHAN, PARAM, PoolSampler, held, reserving_ask
from materia.search._settings import SearchSettings
from materia.search._storage import open_study
from materia.search._view import PoolView, family_codes


@dataclass(frozen=True)
class Decision:
    """A pick as decided.

    Attributes:
        index: the candidate's row in the pool.
        trial_number: the trial that decided it.
        round, slot: its place.
        candidate_id: which.
        key: ``ROUND/SLOT/CANDIDATE``.
        score: factors of the acquisition value; ``total`` is their product.
        acquisition: name of the acquisition that chose it.
        funnel: candidates left after each test before this choice (``pool``, ``eligible``, ``free``, ...).
        logs: factor's name -> natural logarithm (None: impossible); they add up to that of the total.
        rank: place by score among the free candidates; other than 1 only for a pinned one.
        pinned: a person wanted it.
    """

    index: int
    trial_number: int
    round: int
    slot: int
    candidate_id: str
    key: str
    score: Mapping[str, float]
    acquisition: str
    funnel: Mapping[str, int] = field(default_factory=dict)
    logs: Mapping[str, float | None] = field(default_factory=dict)
    rank: int = 1
    pinned: bool = False


class Decider:
    """The study of one campaign.

    Args:
        path: journal file (``optuna.journal``).
        study_name: the campaign's name.
        conditions: what is wanted.
        settings: how to choose.
        ids: (n,) candidate ids of the frozen pool.
        seed: the campaign's seed.
        groups: name -> (n,) family labels, such as ``{"prototype": ..., "chemistry": ...}``.
        exclude: rows that are already labelled at the start.
        formulas: (n,) reduced formulas; the acquisition ``chemist`` needs them.
    """

    def __init__(
        self,
        path: Path,
        study_name: str,
        conditions: Conditions,
        settings: SearchSettings,
        *,
        ids: Sequence[str],
        seed: int = 0,
        groups: Mapping[str, Sequence[Hashable]] | None = None,
        exclude: AbstractSet[int] = frozenset(),
        formulas: Sequence[str] | None = None,
    ) -> None:
        self.conditions = conditions
        self.settings = settings
        self.ids = ids
        self.groups = {name: family_codes(labels) for name, labels in (groups or {}).items()}
        self.formulas = formulas
        self.sampler = PoolSampler(
            PoolView(len(ids), conditions=conditions, groups=self.groups),
            settings=settings,
            seed=seed,
            exclude=exclude,
            lock=f"{path}.ask",
        )
        self._given: tuple[object, ...] = (None,) * 5
        losses = tuple(o.quantity for o in conditions.objectives)
        self.study = open_study(Path(path), study_name, losses, self.sampler)

    def ask(
        self,
        round_: int,
        slot: int,
        *,
        beliefs: Beliefs | None,
        embedding: np.ndarray | None = None,
        eligible: np.ndarray | None = None,
        taken: AbstractSet[int] = frozenset(),
        pending: AbstractSet[int] = frozenset(),
        cost: np.ndarray | None = None,
        success: np.ndarray | None = None,
        pinned: int | None = None,
        released: AbstractSet[int] = frozenset(),
    ) -> Decision:
        """The next candidate, reserved by a running trial. Asked again for the same place, the same decision.

        Args:
            beliefs: about all n candidates, as of the start of the round; without them only ``random`` can choose.
            embedding: (n, d).
            eligible: (n,) bool.
            taken: rows never to be chosen (labelled since, vetoed).
            pending: rows being computed outside this study.
            cost: (n,) predicted seconds.
            success: (n,) probability that the calculation ends well.
            pinned: the row a person wants next: it is chosen, with the score it has.
            released: numbers of failed trials whose candidates may be chosen again (vetoed picks).

        Raises:
            PoolExhaustedError: nothing is left to choose; no trial is created.
            SearchError: arguments that do not fit the pool.
        """
        given = (beliefs, eligible, embedding, cost, success)
        if any(new is not old for new, old in zip(given, self._given, strict=True)):  # a round's slots share one
            self.sampler.view = PoolView(
                len(self.ids),
                self.conditions,
                beliefs,
                eligible,
                embedding,
                self.groups,
                cost,
                success,
                self.formulas,
            )
            self._given = given
        with self.sampler.reserving():
            if (before := self._decided(round_, slot)) is not None:
                trial = self._trial(before.trial_number)
                same = before.index not in taken and (before.index if before.pinned else None) == pinned
                if same or trial.state.is_finished():
                    return before
                self._orphan(trial)  # people decided otherwise since, and it was not kept
            with self.sampler.at(round_, slot, taken=taken, pending=pending, pinned=pinned, released=released):
                _, funnel = self.sampler.require_free(self.study)
                live, index = reserving_ask(self.study)
            key = f"{round_}/{slot}/{self.ids[index]}"
            for name, value in {
                "candidate_id": self.ids[index],
                "key": key,
                "funnel": funnel,
                "slot": slot,
                "round": round_,
                "pinned": pinned is not None,
            }.items():
                live.set_user_attr(name, value)
            return _decision(self.study.get_trials(deepcopy=False)[live.number])

    def tell(
        self, trial_number: int, values: Mapping[str, float] | None = None, *, failure: str | None = None
    ) -> Verdict | None:
        """Close a trial with what was computed, or with the reason why nothing was.

        Telling the same again changes nothing.

        Args:
            values: quantity -> value in its unit, every quantity of the conditions.
            failure: short machine-readable reason.

        Returns:
            losses, violations and whether it is a hit; None for a failure.

        Raises:
            SearchError: both or neither given, no such trial, or it was told something else before.
        """
        if (values is None) == (failure is None):
            raise SearchError(f"trial {trial_number} needs either values or a failure")
        trial = self._trial(trial_number)
        verdict = None if values is None else self.conditions.evaluate(values)
        if trial.state.is_finished():
            self._same_again(trial, verdict, failure)
            return verdict
        live = Trial(self.study, trial._trial_id)
        if verdict is None:
            live.set_user_attr("failure", failure)
            self.study.tell(trial_number, state=TrialState.FAIL)
            return None
        live.set_user_attr("values", {q: float(values[q]) for q in sorted(values)} if values else {})
        live.set_user_attr("hit", verdict.hit)
        for name, violation in verdict.violations.items():
            if name not in trial.constraints:
                live.set_constraint(name, violation)
        self.study.tell(trial_number, list(verdict.losses.values()))
        return verdict

    def reconcile(self, picks: Sequence[Pick], values: Mapping[int, Mapping[str, float]] | None = None) -> list[int]:
        """Bring the study in line with the campaign's database, which is the truth.

        Running trials without a pick are told as failed and flagged ``orphan``, which frees their candidate;
        picks that ended in the database are told; picks that the study has never heard of (a lost journal) are
        written into it under their trial number.

        Args:
            picks: all picks of the database.
            values: trial number -> computed quantities, at least for computed picks the study still runs.

        Returns:
            numbers of the trials flagged as orphans now.

        Raises:
            SearchError: study and database contradict each other, or values are missing.
        """
        with self.sampler.reserving():
            known = {pick.trial_number: pick for pick in picks}
            self._restore(known)
            orphans = []
            for trial in self.study.get_trials(deepcopy=False):
                pick = known.get(trial.number)
                if pick is None:
                    if not trial.state.is_finished():
                        orphans.append(trial.number)
                        self._orphan(trial)
                    continue
                self._same_pick(trial, pick)
                if trial.state.is_finished() or pick.state.open:
                    continue
                if pick.state in (PickState.FAILED, PickState.STOPPED, PickState.VETOED):
                    self.tell(trial.number, failure=pick.reason or "unknown")
                elif values is None or trial.number not in values:
                    raise SearchError(f"no values for the computed pick of trial {trial.number}")
                else:
                    self.tell(trial.number, values[trial.number])
            return orphans

    def _decided(self, round_: int, slot: int) -> Decision | None:
        for trial in self.study.get_trials(deepcopy=False):
            attrs = trial.user_attrs
            if (attrs.get("round"), attrs.get("slot")) == (round_, slot) and not attrs.get(ORPHAN):
                return _decision(trial)
        return None

    def _trial(self, number: int) -> FrozenTrial:
        trials = self.study.get_trials(deepcopy=False)
        if not 0 <= number < len(trials):
            raise SearchError(
                f"trial {number} is not in the study, which has {len(trials)}",
                where=f"study {self.study.study_name!r}",
                remedy="reconcile the study with the campaign's database",
            )
        return trials[number]

    def _same_again(self, trial: FrozenTrial, verdict: Verdict | None, failure: str | None) -> None:
        if verdict is None:
            same = trial.state is TrialState.FAIL and trial.user_attrs.get("failure") == failure
        else:
            told = trial.values if trial.state is TrialState.COMPLETE else None
            same = told is not None and all(
                math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
                for a, b in zip(told, verdict.losses.values(), strict=True)
            )
        if not same:
            raise SearchError(
                f"trial {trial.number} ended as {trial.state.name.lower()} with {trial.values or trial.user_attrs} "
                f"and is now told {failure or (verdict.losses if verdict else None)}",
                where=f"study {self.study.study_name!r}",
                remedy="results of a pick never change; start a new campaign to compute it anew",
            )

    def _orphan(self, trial: FrozenTrial) -> None:
        live = Trial(self.study, trial._trial_id)
        live.set_user_attr(ORPHAN, True)
        live.set_user_attr("failure", "orphan")
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _same_pick(self, trial: FrozenTrial, pick: Pick) -> None:
        index = held(trial)
        if index != pick.candidate_index or trial.user_attrs.get(ORPHAN):
            raise SearchError(
                f"trial {trial.number} holds candidate {index}, the database says {pick.candidate_index} "
                f"({pick.candidate_id})",
                where=f"study {self.study.study_name!r}",
                remedy="move the journal away: the study is rebuilt from the campaign's database",
            )

    def _restore(self, known: Mapping[int, Pick]) -> None:
        """Write picks that the study has lost into it, with unused numbers in between as orphans."""
        n = len(self.ids)
        for number in range(len(self.study.get_trials(deepcopy=False)), max(known, default=-1) + 1):
            pick = known.get(number)
            if pick is None:
                attrs = {ORPHAN: True, "failure": "orphan"}
                self.study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=attrs))
                continue
            self.study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params={PARAM: pick.candidate_index},
                    distributions={PARAM: IntDistribution(0, n - 1)},
                    user_attrs={
                        CHOICE: {
                            "candidate": pick.candidate_index,
                            "acquisition": "",
                            "score": dict(pick.score),
                        },
                        "candidate_id": pick.candidate_id,
                        "key": f"{pick.round}/{pick.slot}/{pick.candidate_id}",
                        "slot": pick.slot,
                        "round": pick.round,
                    },
                )
            )


def _decision(trial: FrozenTrial) -> Decision:
    attrs = trial.user_attrs
    choice = attrs[CHOICE]
    return Decision(
        index=int(trial.params[PARAM]),
        trial_number=trial.number,
        round=int(attrs["round"]),
        slot=int(attrs["slot"]),
        candidate_id=str(attrs["candidate_id"]),
        key=str(attrs["key"]),
        score=dict(choice["score"]),
        acquisition=str(choice["acquisition"]),
        funnel=dict(attrs.get("funnel", {})),
        logs=dict(choice.get("logs", {})),
        rank=int(choice.get("rank", 1)),
        pinned=bool(attrs.get("pinned", False)),
    )
