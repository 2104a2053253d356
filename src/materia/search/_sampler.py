"""The Optuna sampler over a finite pool."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from materia.errors import PoolExhaustedError, SearchError
from materia.search._past import CHOICE, ORPHAN, PARAM, Past, held
from materia.search._score import Choice, acquisition_at, choose
from materia.search._settings import SearchSettings
from materia.search._view import PoolView

__all__ = ["CHOICE", "ORPHAN", "PARAM", "PoolSampler", "held", "reserving_ask"]


@dataclass(frozen=True)
class _Place:
    """Where in the campaign the next ask belongs."""

    round: int
    slot: int
    taken: frozenset[int]
    pending: tuple[int, ...]
    pinned: int | None
    released: frozenset[int]


class PoolSampler(BaseSampler):  # type: ignore[misc]
    """Samples rows of a frozen pool, each at most once (but for those that a place of :meth:`at` has released).

    Ask for ``trial.suggest_int("candidate", 0, n - 1)``. A trial's candidate is taken from the moment it is
    chosen (reserved in a trial attribute before Optuna stores the parameter), whatever becomes of the trial
    later; trials with the user attribute ``orphan`` do not count. Running trials are pending: acquisitions see
    them, and candidates close to them are discounted. Other parameters are sampled at random.

    Studies must minimise, and be told the losses of the conditions in their order, for acquisitions that look
    at the results (``ehvi``); the beliefs are the caller's to renew (set ``view``).

    Args:
        pool: its size (random choice), or the pool with conditions and beliefs.
        settings: acquisition and batch rules; ``random`` by default where only a size is given.
        seed: together with the place given to :meth:`at` (or else the trial's number) it fixes every draw.
        exclude: rows never to be chosen (already labelled).
        lock: path of a lock file; needed when several processes ask on one storage.
        name: name of the parameter.
    """

    def __init__(
        self,
        pool: int | PoolView,
        *,
        settings: SearchSettings | None = None,
        seed: int = 0,
        exclude: Iterable[int] = (),
        lock: str | Path | None = None,
        name: str = PARAM,
    ) -> None:
        self.view = pool if isinstance(pool, PoolView) else PoolView(pool)
        if settings is None:
            knows = self.view.beliefs is not None and self.view.conditions is not None
            settings = SearchSettings() if knows else SearchSettings(acquisition="random", exploration=0.0)
        self.settings = settings
        self.seed = seed
        self.exclude = frozenset(int(i) for i in exclude)
        self.name = name
        self._lock_path = None if lock is None else str(lock)
        self._others = RandomSampler(seed=seed)
        self._place: _Place | None = None
        self._known: Past | None = None
        self._start_locks()

    def _start_locks(self) -> None:
        self._threads = threading.RLock()
        self._file = None if self._lock_path is None else FileLock(self._lock_path)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_threads"], state["_file"]
        state["_known"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_locks()

    @contextlib.contextmanager
    def reserving(self) -> Iterator[None]:
        """Hold the right to choose: nobody else asks on this lock meanwhile. May be nested."""
        with self._threads, self._file if self._file is not None else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def at(
        self,
        round_: int,
        slot: int,
        *,
        taken: Iterable[int] = (),
        pending: Iterable[int] = (),
        pinned: int | None = None,
        released: Iterable[int] = (),
    ) -> Iterator[None]:
        """Within this context the next ask is for this round and slot.

        Trials of the same round (user attributes ``round``, ``slot``) count as pending if their slot is lower
        and are otherwise not looked at, whatever their state: what finished first changes nothing.

        Args:
            taken: further rows not to be chosen.
            pending: further rows that are being computed; not chosen either.
            pinned: the row to choose, scored like any other; eligibility and cost do not stop it.
            released: numbers of finished trials that hold their candidate no more.
        """
        before = self._place
        waiting = tuple(sorted({int(i) for i in pending}))
        self._place = _Place(round_, slot, frozenset(int(i) for i in taken), waiting, pinned, frozenset(released))
        try:
            yield
        finally:
            self._place = before

    def free(self, study: Study) -> tuple[np.ndarray, dict[str, int]]:
        """Candidates that can still be chosen.

        Returns:
            (n,) bool, and how many are left after each test (``pool``, ``eligible``, ..., ``free``).
        """
        mask, funnel = self.view.choosable(self.settings.max_cost_s)
        taken, released = self.exclude, frozenset[int]()
        if self._place is not None:
            released = self._place.released
            taken = taken | self._place.taken | frozenset(self._place.pending)
            if self._place.pinned is not None:
                mask[self._place.pinned] = True
        for rows in (self._past(study).rows(released), np.fromiter(taken, dtype=np.int64, count=len(taken))):
            mask[rows[(rows >= 0) & (rows < self.view.n)]] = False
        return mask, {**funnel, "free": int(np.count_nonzero(mask))}

    def require_free(self, study: Study) -> tuple[np.ndarray, dict[str, int]]:
        """As :meth:`free`.

        Raises:
            PoolExhaustedError: nothing is left; the message says where the candidates went.
        """
        mask, funnel = self.free(study)
        if not mask.any():
            steps = ", ".join(f"{name} {count}" for name, count in funnel.items())
            raise PoolExhaustedError(
                f"no candidate is left to choose ({steps})",
                where=f"study {study.study_name!r}",
                remedy="widen the space, raise search.max_cost_s, or end the campaign here",
            )
        return mask, funnel

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Never asked for by Optuna (the relative space is empty); answers for callers that do."""
        return {name: self.sample_independent(study, trial, name, d) for name, d in search_space.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name != self.name:
            return self._others.sample_independent(study, trial, param_name, param_distribution)
        if param_distribution != IntDistribution(0, self.view.n - 1):
            raise SearchError(
                f"parameter {param_name!r} is {param_distribution}, the pool has {self.view.n} candidates",
                remedy=f"ask for trial.suggest_int({param_name!r}, 0, {self.view.n - 1})",
            )
        return self._chosen(study, trial)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        # Optuna never consults a sampler about a parameter with one value; and it comes here again to tell
        if self.view.n == 1 and CHOICE not in trial.user_attrs and self.name not in trial.params:
            self._chosen(study, trial)

    def _chosen(self, study: Study, trial: FrozenTrial) -> int:
        """Choose, and write down why."""
        with self.reserving():
            choice = self._choose(study, trial)
            why = {"candidate": choice.index, **{k: v for k, v in vars(choice).items() if k != "index"}}
            study._storage.set_trial_user_attr(trial._trial_id, CHOICE, why)
        return choice.index

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._others.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self._others.reseed_rng()

    def _choose(self, study: Study, trial: FrozenTrial) -> Choice:
        mask, _ = self.require_free(study)
        place, past = self._place, self._past(study)
        only = None if place is None else place.pinned
        if only is not None and not mask[only]:
            raise SearchError(f"candidate {only} is pinned and cannot be chosen: it is taken")
        m = len(self.view.conditions.objectives) if self.view.conditions is not None else 0
        if place is None:
            acquisition = self.settings.acquisition
            rng = np.random.default_rng([self.seed, trial.number])
        else:
            pinned, settings = only is not None, self.settings
            acquisition = settings.acquisition if pinned else acquisition_at(settings, place.round, place.slot)
            rng = np.random.default_rng([self.seed, place.round, place.slot])
        return choose(
            self.view,
            self.settings,
            acquisition,
            free=mask,
            pending=self._pending(past),
            observed=past.observed(None if place is None else place.round, m),
            rng=rng,
            only=only,
        )

    def _past(self, study: Study) -> Past:
        """The trials as they are now."""
        with self._threads:
            if self._known is None or not self._known.is_of(study, self.name):
                self._known = Past(study, self.name)
            self._known.read(study)
            return self._known

    def _pending(self, past: Past) -> tuple[int, ...]:
        """Rows computed elsewhere, then those of this study, oldest first: the order of the discounts' product."""
        place = self._place
        rows: dict[int, None] = {}
        if place is not None:
            rows = dict.fromkeys(place.pending)
        rows |= dict.fromkeys(past.pending(None, 0) if place is None else past.pending(place.round, place.slot))
        return tuple(i for i in rows if 0 <= i < self.view.n)


def reserving_ask(study: Study) -> tuple[optuna.Trial, int]:
    """Ask a study with a :class:`PoolSampler` for its next candidate, safe among many askers.

    Returns:
        the running trial and the candidate's row.

    Raises:
        PoolExhaustedError: nothing is left; no trial is created.
    """
    sampler = study.sampler
    if not isinstance(sampler, PoolSampler):
        raise SearchError(f"study {study.study_name!r} has a {sampler}", remedy="give it a PoolSampler")
    with sampler.reserving():
        sampler.require_free(study)
        trial = study.ask()
        return trial, int(trial.suggest_int(sampler.name, 0, sampler.view.n - 1))
