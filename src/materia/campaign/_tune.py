"""Search the surrogate's settings: cross-validated by formula, with an Optuna study that processes may share."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from materia import files
from materia.campaign._tune_request import TuneRequest, settle
from materia.campaign._tune_runs import study_runs
from materia.campaign._tune_study import Trial, read_trials, work
from materia.errors import ConfigError
from materia.quantities import Quantity
from materia.surrogate import SurrogateSettings
from materia.tracking import TrackingError, TrackingSettings, project

if TYPE_CHECKING:
    from materia.tracking import TrackingResult

BEST = "best.yaml"


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
        untracked: why it is not, or "".
    """

    folder: Path
    best: Mapping[str, Any]
    score: float
    default_score: float | None
    trials: tuple[Trial, ...]
    tracking: TrackingResult | None = None
    untracked: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "best": dict(self.best),
            "score": self.score,
            "default_score": self.default_score,
            "trials": [trial.to_json() for trial in self.trials],
            "mlflow_run": self.tracking.run_id if self.tracking else None,
            "untracked": self.untracked,
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
        ConfigError: something that does not fit, ``out`` holds another search, or no trial succeeded.
        DatasetError: the data are not there.
    """
    folder = Path(out).absolute()
    request = settle(folder, data, targets, quantities, start, settings, search, trials, folds, seed)
    found: TrackingResult | None = None
    untracked = ""

    def told() -> None:
        nonlocal found, untracked
        so_far = read_trials(folder)
        if report is not None:
            report(so_far, request.trials)
        try:
            found, untracked = _track(folder, request, so_far, tracking), ""
        except TrackingError as error:  # a server that is away must not stop the search: the next trial writes all
            found, untracked = None, f"not tracked: {error.what}"

    if jobs == 1:
        work(folder, told=told)
    else:
        _share(folder, jobs, told)
    told()
    trials_done = read_trials(folder)
    done = [t for t in trials_done if t.state == "complete" and t.score is not None]
    if not done:
        messages = {t.message for t in trials_done if t.message}
        raise ConfigError(f"no trial succeeded: {'; '.join(sorted(messages)) or 'none finished'}", where=folder)
    best = min(done, key=lambda t: (t.score, t.number))
    text = f"# {best.score:.5f} of the training median's error, trial {best.number} of {request.trials}\n"
    files.write_whole(folder / BEST, text + yaml.safe_dump(dict(best.settings), sort_keys=True))
    default = next((t.score for t in done if t.number == 0), None)
    return Tuned(folder, best.settings, float(best.score or 0.0), default, tuple(trials_done), found, untracked)


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


def _track(
    folder: Path, request: TuneRequest, trials: Sequence[Trial], settings: TrackingSettings | None
) -> TrackingResult:
    parent, children = study_runs(folder, request.training, request.trials, trials)
    return project(parent, children, folder, settings or TrackingSettings(), "tune")
