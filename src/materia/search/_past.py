"""What the trials of a study hold, read at the cost of what changed since the last look."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from materia.search._gauss import Floats

PARAM = "candidate"
CHOICE = "choice"
ORPHAN = "orphan"


@dataclass(frozen=True)
class Holding:
    """A trial that holds a candidate.

    Attributes:
        row: the candidate.
        running: the trial is not finished and not merely queued.
        round, slot: its place, -1 where it has none.
    """

    row: int
    running: bool
    round: int
    slot: int


class Past:
    """The trials of one study that hold a candidate; orphans left out, queued trials included.

    Optuna lets nobody change a finished trial, so each of them is read once; those still open are read at every
    :meth:`read`, which with ten thousand trials is the difference between microseconds and a second an ask.
    """

    def __init__(self, study: Study, name: str) -> None:
        self._storage, self._study_id, self._name = study._storage, study._study_id, name
        self._forget()

    def _forget(self) -> None:
        self._n = 0
        self._unfinished: list[int] = []
        self._open: list[Holding] = []
        self._rows: list[int] = []
        self._numbers: list[int] = []  # of the trials that hold them
        self._in_round: dict[int, list[Holding]] = {}
        self._results: list[tuple[int, tuple[float, ...]]] = []

    def is_of(self, study: Study, name: str) -> bool:
        return self._storage is study._storage and self._study_id == study._study_id and self._name == name

    def read(self, study: Study) -> None:
        """Look at the trials that are new or were unfinished at the last look."""
        trials = study.get_trials(deepcopy=False)
        if len(trials) < self._n:  # another journal under the same study: nothing known holds
            self._forget()
        changed = [trials[number] for number in self._unfinished] + trials[self._n :]
        self._n, self._unfinished, self._open = len(trials), [], []
        for trial in changed:
            holding = _holding(trial, self._name)
            if not trial.state.is_finished():
                self._unfinished.append(trial.number)
                if holding is not None:
                    self._open.append(holding)
            elif holding is not None:
                self._finished(trial, holding)

    def rows(self, without: AbstractSet[int] = frozenset()) -> np.ndarray:
        """Every candidate held, in no order, but for those held by finished trials of these numbers."""
        finished = self._rows
        if without:
            finished = [row for row, number in zip(finished, self._numbers, strict=True) if number not in without]
        return np.array(finished + [holding.row for holding in self._open], dtype=np.int64)

    def pending(self, round_: int | None, slot: int) -> Iterator[int]:
        """Candidates to be reckoned with before this place, oldest first.

        Of the same round those of lower slots, whatever became of them; of others those that are running.
        Without a round all that are running.
        """
        yield from (h.row for h in self._open if h.running and (round_ is None or h.round != round_))
        if round_ is not None:
            mine = [*self._in_round.get(round_, ()), *(h for h in self._open if h.round == round_)]
            yield from (h.row for h in sorted(mine, key=lambda h: h.slot) if h.slot < slot)

    def observed(self, before_round: int | None, m: int) -> Floats:
        """(k, m) losses of computed candidates that respect the constraints, in order of trials."""
        found = [
            losses
            for round_, losses in self._results
            if len(losses) == m and (before_round is None or round_ < before_round)
        ]
        return np.array(found, dtype=np.float64).reshape(len(found), m)

    def _finished(self, trial: FrozenTrial, holding: Holding) -> None:
        self._rows.append(holding.row)
        self._numbers.append(trial.number)
        if holding.round >= 0:
            self._in_round.setdefault(holding.round, []).append(holding)
        if trial.state == TrialState.COMPLETE and trial.values is not None:
            respected = all(value <= 0 for value in trial.constraints.values())
            if respected:
                self._results.append((holding.round, tuple(trial.values)))


def _holding(trial: FrozenTrial, name: str) -> Holding | None:
    attrs: dict[str, Any] = trial.user_attrs
    row = None if attrs.get(ORPHAN) else held(trial, name)
    if row is None:
        return None
    return Holding(row, trial.state == TrialState.RUNNING, int(attrs.get("round", -1)), int(attrs.get("slot", -1)))


def held(trial: FrozenTrial, name: str = PARAM) -> int | None:
    """The candidate a trial holds: as a parameter, reserved before that, or queued."""
    reserved = trial.user_attrs.get(CHOICE, {}).get("candidate")
    queued = trial.system_attrs.get("fixed_params", {}).get(name)
    index = trial.params.get(name, reserved if reserved is not None else queued)
    return None if index is None else int(index)
