"""The trials of a search: an Optuna study in one file, worked on by processes that may die."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from materia.campaign._tune_folds import fold_scores
from materia.campaign._tune_request import TuneRequest, read_tune_request
from materia.compute import DriverLock
from materia.errors import CampaignLockedError, ConfigError, MateriaError

if TYPE_CHECKING:
    import optuna

STUDY = "study.log"
_STARTUP = 6  # trials drawn at random before the sampler models, and before anything is pruned


@dataclass(frozen=True)
class Trial:
    """One choice of settings.

    Attributes:
        number: in the order they were begun.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        settings: what was searched.
        score: mean over the folds done: error over that of the training median, mean over targets; lower is better.
        folds: scores, one a fold.
        message: why it failed.
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    score: float | None
    folds: tuple[float, ...]
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "settings": dict(self.settings), "folds": list(self.folds)}


def open_study(folder: Path) -> optuna.Study:
    """The study of a folder, made if missing. One file, which processes on several nodes may share."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=2)
    path = str(folder / STUDY)
    request = read_tune_request(folder)
    seed = 0 if request is None else request.training.seed
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path))),
        study_name="surrogate",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(n_startup_trials=_STARTUP, constant_liar=True, seed=seed),
        pruner=pruner,
    )


def read_trials(folder: Path) -> list[Trial]:
    """All trials but those that another one has taken up again."""
    if not (folder / STUDY).exists():
        return []
    found = []
    study = open_study(folder)
    for t in study.get_trials(deepcopy=False):
        scores = tuple(t.intermediate_values[k] for k in sorted(t.intermediate_values))
        message = str(t.user_attrs.get("message", ""))
        if t.state.name == "WAITING" or left_behind(t.number) in study.user_attrs:
            continue
        state = "failed" if t.state.name == "FAIL" else t.state.name.lower()
        settings = t.user_attrs.get("settings", t.params)
        found.append(Trial(t.number, state, settings, statistics.mean(scores) if scores else None, scores, message))
    return found


def left_behind(number: int) -> str:
    """The study's attribute that says of a trial that its process is gone and another trial goes on with it."""
    return f"left_behind_{number}"


def work(folder: Path, told: Callable[[], None] = lambda: None) -> None:
    """One process of a search: trials until there are enough, those first that a dead process has left behind."""
    import optuna
    from optuna.trial import TrialState

    request = read_tune_request(folder)
    if request is None:
        raise ConfigError("there is no search here", where=folder)
    study = open_study(folder)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(_as_given(request), skip_if_exists=True)
    while True:
        _take_up(folder, study)
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        if sum(left_behind(t.number) not in study.user_attrs for t in ended) >= request.trials:
            return
        trial = study.ask()
        chosen = {name: dimension.suggest(trial, name) for name, dimension in request.space.items()}
        trial.set_user_attr("settings", chosen)
        place = _place(folder, chosen)
        try:
            with DriverLock(place):
                study.tell(trial, _evaluate(request, chosen, place, trial))
            shutil.rmtree(place, ignore_errors=True)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except CampaignLockedError:
            trial.set_user_attr("message", "the same settings are under way in another process")
            study.tell(trial, state=TrialState.FAIL)
        except MateriaError as error:
            trial.set_user_attr("message", str(error))
            study.tell(trial, state=TrialState.FAIL)
        told()


def _as_given(request: TuneRequest) -> dict[str, Any]:
    """The settings as given, of what is searched; those outside the space are left to the sampler."""
    given = request.training.settings.model_dump()
    given |= {k: v for k, v in request.training.settings.architecture().items() if given[k] is None}
    return {name: given[name] for name, dimension in request.space.items() if dimension.holds(given[name])}


def _place(folder: Path, chosen: Mapping[str, Any]) -> Path:
    """Where a choice of settings is worked on: the same one finds what was done for it."""
    place = folder / "work" / hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    return place


def _take_up(folder: Path, study: optuna.Study) -> None:
    """Trials whose process is gone are closed and put in the queue again, with their settings."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        chosen = trial.user_attrs.get("settings")
        if chosen is None:  # killed between two lines: nothing was done
            continue
        try:
            with DriverLock(_place(folder, chosen)):
                study.set_user_attr(left_behind(trial.number), True)
                study.tell(trial.number, state=TrialState.FAIL)
                study.enqueue_trial(trial.params)
        except CampaignLockedError:
            continue


def _evaluate(request: TuneRequest, chosen: Mapping[str, Any], place: Path, trial: optuna.Trial) -> float:
    import optuna

    scores = []
    for k, score in enumerate(fold_scores(request.training, request.settings_of(chosen), request.folds, place)):
        scores.append(score)
        trial.report(score, k)
        if trial.number >= _STARTUP and k + 1 < request.folds and trial.should_prune():
            raise optuna.TrialPruned
    return statistics.mean(scores)
