"""A search of settings as MLflow runs: the study, and a child run for every trial."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from materia.campaign._request import TrainingRequest
from materia.tracking import RunSpec

if TYPE_CHECKING:
    from materia.campaign._tune_study import Trial

_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "running": "RUNNING"}


def study_runs(
    folder: Path, training: TrainingRequest, wanted: int, trials: Sequence[Trial]
) -> tuple[RunSpec, list[RunSpec]]:
    """The parent run of a search, and one run a trial.

    Args:
        folder: of the study.
        training: data and settings that are not searched.
        wanted: how many trials end it.
        trials: those so far.
    """
    key = "tune-" + hashlib.sha256(training.model_dump_json().encode() + str(folder).encode()).hexdigest()[:16]
    done = [t for t in trials if t.state == "complete" and t.score is not None]
    ended = sum(t.state != "running" for t in trials)
    best: list[tuple[str, float, int]] = []
    for t in sorted(done, key=lambda t: t.number):
        best.append(("best_score", min(float(t.score or 0.0), best[-1][1] if best else float("inf")), t.number))
    parent = RunSpec(
        key=key,
        name=f"tune {folder.name}",
        status="FINISHED" if ended >= wanted else "RUNNING",
        tags={"materia.kind": "tune"},
        params={
            "data": Path(training.data).name,
            "data_sha256": training.data_sha256,
            "targets": ", ".join(training.targets),
            "start": training.settings.pretrained or "none",
            "seed": str(training.seed),
        },
        metrics=(*best, ("trials", float(ended), 0)),
    )
    return parent, [_trial_run(key, t) for t in trials]


def _trial_run(key: str, trial: Trial) -> RunSpec:
    score = () if trial.score is None else (("score", trial.score, 0),)
    return RunSpec(
        key=f"{key}-{trial.number}",
        name=f"trial {trial.number}",
        status=_STATUS[trial.state],
        tags={"materia.kind": "trial", "materia.state": trial.state}
        | ({"materia.message": trial.message} if trial.message else {}),
        params={name: str(value) for name, value in trial.settings.items()},
        metrics=(*score, *(("fold_score", value, k) for k, value in enumerate(trial.folds))),
    )
