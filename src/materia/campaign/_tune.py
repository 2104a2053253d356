"""Search the surrogate's settings: cross-validated by formula, with an Optuna study that processes may share."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from materia import files
from materia.campaign._request import TrainingRequest, make_request
from materia.campaign._tune_folds import fold_scores
from materia.campaign._tune_space import Dimension, default_space, read_dimension
from materia.compute import DriverLock
from materia.errors import CampaignLockedError, ConfigError, MateriaError
from materia.quantities import Quantity
from materia.surrogate import SurrogateSettings

if TYPE_CHECKING:
    import optuna

    from materia.tracking import TrackingResult, TrackingSettings

FILE, STUDY, BEST = "tune.json", "study.log", "best.yaml"
_STARTUP = 6  # trials drawn at random before the sampler models, and before anything is pruned


class TuneRequest(BaseModel):
    """A search in full.

    Attributes:
        training: data, targets and the settings that are not searched.
        space: setting -> what it may be.
        folds: of the formulas; a trial's score is the mean over them.
        trials: how many end the search, pruned ones included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    training: TrainingRequest
    space: dict[str, Dimension]
    folds: int = Field(ge=2, le=20)
    trials: int = Field(ge=1)

    def settings_of(self, chosen: Mapping[str, Any]) -> SurrogateSettings:
        """One network a fold: the rest of a twentieth is left to calibrate on, which is not used here."""
        entries = {**self.training.settings.model_dump(), **chosen, "members": 1, "folds": 20}
        return SurrogateSettings.model_validate(entries)


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


@dataclass(frozen=True)
class Tuned:
    """A search that has ended.

    Attributes:
        folder: of the study; ``best.yaml`` holds the best settings.
        best: settings to train with.
        score: theirs.
        default_score: that of the settings searched from.
        trials: all of them.
        tracking: where it is kept in MLflow.
    """

    folder: Path
    best: Mapping[str, Any]
    score: float
    default_score: float | None
    trials: tuple[Trial, ...]
    tracking: TrackingResult | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "best": dict(self.best),
            "score": self.score,
            "default_score": self.default_score,
            "trials": [trial.to_json() for trial in self.trials],
            "mlflow_run": self.tracking.run_id if self.tracking else None,
        }


def tune(
    data: str | Path | None,
    targets: Sequence[str] | Mapping[str, str],
    out: str | Path,
    *,
    quantities: Sequence[Quantity | str] = (),
    start: str | Path | None = "base",
    settings: SurrogateSettings | None = None,
    search: Sequence[str] = (),
    trials: int = 30,
    folds: int = 5,
    jobs: int = 1,
    seed: int = 0,
    tracking: TrackingSettings | None = None,
    report: Callable[[Sequence[Trial], int], None] | None = None,
) -> Tuned:
    """Search the settings with which the surrogate predicts held-out formulas best; the same call goes on.

    The first trial has the settings as given, so that the best is never worse on these folds. A trial that falls
    behind is given up after a few folds (the Wilcoxon test between its folds and the best trial's). Of a trial that was
    cut off, finished folds are kept and the unfinished one goes on from its checkpoint.

    Args:
        data, targets, quantities, start: as for :func:`materia.train`; ``data=None`` goes on with what is in ``out``.
        out: folder of the study.
        settings: what is not searched.
        search: what is, as ``NAME=LOW:HIGH[:log]`` or ``NAME=A,B,C``; default: rates and regularisation.
        trials: how many end the search.
        folds: of the formulas.
        jobs: processes that share the study, each with one thread.
        seed: of folds, networks and sampler.
        tracking: where MLflow keeps it; default: ``mlflow.db`` in the folder.
        report: called with the trials so far and how many there will be.

    Raises:
        ConfigError: something that does not fit, or ``out`` holds another search.
        DatasetError: the data cannot be read, or too little of them can be used.
        ModelError: no trial succeeded.
    """
    folder = Path(out).absolute()
    request = _settle(folder, data, targets, quantities, start, settings, search, trials, folds, seed)
    found: TrackingResult | None = None

    def told(final: bool = False) -> None:
        nonlocal found
        so_far = read_trials(folder)
        if report is not None:
            report(so_far, request.trials)
        found = _track(folder, request, so_far, tracking) if final or so_far else None

    if jobs == 1:
        work(folder, told=told)
    else:
        _share(folder, jobs, told)
    told(final=True)
    done = [t for t in read_trials(folder) if t.state == "complete" and t.score is not None]
    if not done:
        messages = {t.message for t in read_trials(folder) if t.message}
        raise ConfigError(f"no trial succeeded: {'; '.join(sorted(messages)) or 'none finished'}", where=folder)
    best = min(done, key=lambda t: (t.score, t.number))
    text = f"# {best.score:.5f} of the training median's error, trial {best.number} of {request.trials}\n"
    files.write_whole(folder / BEST, text + yaml.safe_dump(dict(best.settings), sort_keys=True))
    default = next((t.score for t in done if t.number == 0), None)
    return Tuned(folder, best.settings, float(best.score or 0.0), default, tuple(read_trials(folder)), found)


def _settle(
    folder: Path,
    data: str | Path | None,
    targets: Sequence[str] | Mapping[str, str],
    quantities: Sequence[Quantity | str],
    start: str | Path | None,
    settings: SurrogateSettings | None,
    search: Sequence[str],
    trials: int,
    folds: int,
    seed: int,
) -> TuneRequest:
    """What is searched in a folder: as asked, or as it was; only the number of trials may change."""
    there = read_tune_request(folder)
    if data is None:
        if there is None:
            raise ConfigError("no data are given", where=folder, remedy="start a search: --data FILE --target NAME")
        asked = there.model_copy(update={"trials": trials})
    else:
        training = make_request(data, targets, quantities=quantities, start=start, settings=settings, seed=seed)
        fixed = [] if settings is None else sorted(settings.model_fields_set)
        space = dict(map(read_dimension, search)) or default_space(training.settings.pretrained, fixed)
        asked = TuneRequest(training=training, space=space, folds=folds, trials=trials)
        if there is not None and asked.model_copy(update={"trials": there.trials}) != there:
            raise ConfigError("the folder holds another search", where=folder, remedy="choose another folder")
    asked.training.check_data()
    asked.settings_of({})
    files.write_whole(folder / FILE, json.dumps(asked.model_dump(mode="json"), indent=1) + "\n")
    return asked


def read_tune_request(folder: Path) -> TuneRequest | None:
    """The search in a folder, or None where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return TuneRequest.model_validate_json((folder / FILE).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigError(f"the search cannot be read: {error}", where=folder / FILE) from error


def _share(folder: Path, jobs: int, told: Callable[[], None]) -> None:
    """Several processes work on the study; what one leaves behind when it dies, another takes up."""
    argv = [sys.executable, "-m", "materia.campaign.tune_worker", str(folder)]
    workers = [subprocess.Popen(argv, stdin=subprocess.DEVNULL) for _ in range(jobs)]
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(2.0)
            told()
    finally:
        for worker in workers:
            worker.terminate()
        codes = [worker.wait() for worker in workers]
    if all(codes):
        raise ConfigError(
            f"the {jobs} processes ended with {codes}", where=folder, remedy="their messages are above; call again"
        )


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


def _track(
    folder: Path, request: TuneRequest, trials: Sequence[Trial], settings: TrackingSettings | None
) -> TrackingResult:
    from materia.campaign._tune_runs import study_runs
    from materia.tracking import TrackingSettings, project

    parent, children = study_runs(folder, request.training, request.trials, trials)
    return project(parent, children, folder, settings or TrackingSettings(), "tune")
