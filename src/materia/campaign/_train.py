"""Train a surrogate on the user's own labelled structures."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia import files
from materia.campaign._request import TrainingRequest, make_request, read_request, write_request
from materia.compute import DriverLock
from materia.data import LabelledRows, Quarantined, read_labelled
from materia.errors import CampaignLockedError, ConfigError, DatasetError, ModelError
from materia.quantities import Form, Kind, Quantity, declare
from materia.surrogate import SurrogateSettings

QUARANTINE = "quarantine.jsonl"
MIN_EXAMPLES = 12
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_WAIT_S = 900.0  # of a requeued job, for the lock of the process that was ended


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        folder: model folder: ``weights.safetensors``, ``card.json``, ``quarantine.jsonl``, ``train.json``.
        card: its card.
        warnings: what to know before the figures are believed.
    """

    folder: Path
    card: Mapping[str, Any]
    warnings: tuple[str, ...]

    @property
    def quarantine(self) -> list[dict[str, str]]:
        """Rows of the data that could not be used: ``place``, ``id``, ``reason``."""
        lines = (self.folder / QUARANTINE).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def to_json(self) -> dict[str, Any]:
        targets = {}
        for name, found in self.card["validation"].items():
            q = declare(name, **self.card["quantities"][name])
            per_atom = "/atom" if q.kind is Kind.EXTENSIVE else ""
            form = {} if q.form is Form.SCALAR else {"form": q.form.value}
            targets[name] = {"unit": q.unit + per_atom, **form, **found, "n_labels": self.card["n_labels"][name]}
        return {
            "model": str(self.folder),
            "n_train": self.card["n_train"],
            "targets": targets,
            "n_quarantined": len(self.quarantine),
            "quarantine": self.quarantine,
            "n_unlabelled": self.card["n_unlabelled"],
            **{key: self.card[key] for key in ("n_symmetrised",) if key in self.card},
            "strata": self.card.get("strata", {}),
            "weights_sha256": self.card["weights_sha256"],
            "warnings": list(self.warnings),
        }


def train(
    data: str | Path | None = None,
    targets: Sequence[str] | Mapping[str, str] = (),
    out: str | Path = "model",
    *,
    quantities: Sequence[Quantity | str] = (),
    start: str | Path | None = "base",
    settings: SurrogateSettings | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: bool = False,
) -> Trained:
    """Train a surrogate on labelled structures; the same call resumes one that was cut off.

    The formulas are dealt to folds; each member learns from all folds but its own, and the figures and the
    calibration come from what each member predicts for the formulas it has not seen. Under ``torchrun``, or with
    ``settings.devices`` above one, several processes train together.

    Args:
        data: file or folder, see :data:`materia.data.FORMS`.
        targets: names of quantities, ``NAME=COLUMN`` where the data call them otherwise; or a mapping.
        out: model folder.
        quantities: targets that are not registered, as ``name:unit:kind``, ``name:unit:form`` or from
            :func:`materia.quantities.declare`.
        start: ``base`` (shipped weights), a model folder, or None for random weights.
        settings: of network and training; ``pretrained`` is replaced by ``start``.
        seed: the same data, settings and seed give the same weights on the same machine.
        resume: go on with the training that is in ``out``. Without ``data`` it is as it was asked for, and of
            ``settings`` only where it runs (device, devices, threads) may differ.
        progress: show a progress bar.

    Raises:
        ConfigError: something that does not fit, or ``out`` holds another training.
        DatasetError: the data cannot be read, or too little of them can be used.
        ModelError: the start cannot be used, another process trains here, or training diverged.
    """
    folder = Path(out).absolute()
    request = settle_request(folder, data, targets, quantities, start, settings, seed, resume)
    if finished(folder):
        return report_of(folder, request)
    leads = leads_here()
    with _alone(folder) if leads else contextlib.nullcontext():
        if leads:
            write_request(folder, request)
        if request.settings.devices == 1 or _under_torchrun():
            _train(folder, request, leads=leads, progress=progress)
    if not finished(folder):  # the processes outlive this one, so they hold the folder themselves
        _start_processes(folder, request.settings.devices)
    return report_of(folder, request)


def leads_here() -> bool:
    """Whether this is the process that writes and speaks, of those that ``torchrun`` started or alone."""
    return os.environ.get("RANK", "0") == "0"


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def settle_request(
    folder: Path,
    data: str | Path | None,
    targets: Sequence[str] | Mapping[str, str],
    quantities: Sequence[Quantity | str],
    start: str | Path | None,
    settings: SurrogateSettings | None,
    seed: int,
    resume: bool,
) -> TrainingRequest:
    """What is to be trained in a folder: as asked, checked against what is there.

    Raises:
        ConfigError: nothing is asked for and nothing is there, or the two differ.
    """
    there = read_request(folder)
    if data is None:
        if not resume or there is None:
            raise ConfigError(
                "there is no training to go on with" if resume else "no data are given",
                where=folder,
                remedy="start one: --data FILE --target NAME",
            )
        if targets or quantities:
            raise ConfigError("targets are given, and no data", where=folder, remedy="give both, or --resume alone")
        there.check_data()
        return there if settings is None else there.elsewhere(settings)
    asked = make_request(data, targets, quantities=quantities, start=start, settings=settings, seed=seed)
    if there is None and finished(folder):
        raise ConfigError("the folder holds a model already", where=folder, remedy="choose another one")
    if there is None or not begun(folder):
        return asked
    differing = [key for key, value in asked.essence().items() if there.essence()[key] != value]
    if differing:
        raise ConfigError(
            f"the folder holds another training: {', '.join(differing)} differ",
            where=folder,
            remedy="choose another folder, or go on with what is there: --resume alone",
        )
    return asked


def begun(folder: Path) -> bool:
    """Whether there is something to lose: a model, checkpoints, a job on a site."""
    return any((folder / name).exists() for name in ("card.json", "training", "site"))


def finished(folder: Path) -> bool:
    """Whether the model is there."""
    return (folder / "card.json").is_file()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder. A job that Slurm has requeued waits until the one before it is known to be gone."""
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + (_WAIT_S if "SLURM_RESTART_COUNT" in os.environ else 0.0)
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(DriverLock(folder))
                break
            except CampaignLockedError as error:
                if time.monotonic() >= deadline:
                    raise ModelError(
                        f"another process trains here: {error.what}", where=folder, remedy=error.remedy
                    ) from error
            time.sleep(5.0)
        yield


def _start_processes(folder: Path, count: int) -> None:
    """One process a device, by torchrun, which all go on with the request in the folder."""
    argv = [*torchrun("--standalone", f"--nproc-per-node={count}"), *worker_arguments(folder)]
    ended = subprocess.run(
        argv,
        env={"OMP_NUM_THREADS": "1", **os.environ},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=_end_with_parent,
        check=False,
    )
    if ended.returncode != 0 or not finished(folder):
        raise ModelError(
            f"the {count} processes ended with {ended.returncode} and no model",
            where=folder,
            remedy="their messages are above; the same command goes on from the last checkpoint",
        )


def _end_with_parent() -> None:
    """In the child, on Linux: be told to end when this process is gone, however it went. torchrun ends the others."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def torchrun(*options: str) -> list[str]:
    """The command that starts several processes of what follows it, with this interpreter."""
    return [sys.executable, "-m", "torch.distributed.run", *options]


def worker_arguments(folder: Path) -> list[str]:
    """What each process runs."""
    return ["-m", "materia.campaign.train_worker", str(folder)]


def work(folder: Path, *, progress: bool = False) -> None:
    """One process of a training that was asked for: what ``train_worker`` runs."""
    request = read_request(folder)
    if request is None:
        raise ConfigError("there is no training to go on with", where=folder)
    if finished(folder):
        return
    leads = leads_here()
    with _alone(folder) if leads else contextlib.nullcontext():
        request.check_data()
        _train(folder, request, leads=leads, progress=progress)


def _train(folder: Path, request: TrainingRequest, *, leads: bool, progress: bool) -> None:
    from materia.surrogate import Example
    from materia.surrogate import train as train_surrogate

    found = usable_rows(request)
    if len(found.rows) < MIN_EXAMPLES:
        raise _too_few(found, request)
    if leads:
        _write_quarantine(folder / QUARANTINE, found.quarantine)
    settings = request.settings
    if _under_torchrun():
        settings = settings.model_copy(update={"devices": 1})  # as many as were started
    train_surrogate(
        [Example(row.crystal, row.values, row.crystal.formula) for row in found.rows],
        targets=list(request.targets),
        settings=settings,
        folder=folder,
        seed=request.seed,
        progress=progress,
        declared=request.declared,
        about={
            "data": {Path(request.data).name: request.data_sha256},
            "columns": request.targets,
            "n_quarantined": len(found.quarantine),
            "n_unlabelled": found.unlabelled,
            **({"n_symmetrised": found.symmetrised} if Form.TENSOR in request.forms.values() else {}),
        },
    )


def usable_rows(request: TrainingRequest) -> LabelledRows:
    """The rows of the data that a network can take; the others join the quarantine.

    Raises:
        DatasetError: the data cannot be read.
    """
    from materia.surrogate import unsupported

    found = read_labelled(request.data, request.targets, request.forms)
    reasons = [(row, unsupported(row.crystal)) for row in found.rows]
    more = tuple(Quarantined(row.place, reason, row.id) for row, reason in reasons if reason)
    rows = tuple(row for row, reason in reasons if not reason)
    return LabelledRows(rows, found.quarantine + more, found.unlabelled, found.symmetrised)


def _too_few(found: LabelledRows, request: TrainingRequest) -> DatasetError:
    first = "".join(f"; {q.place}: {q.reason}" for q in found.quarantine[:3])
    return DatasetError(
        f"{len(found.rows)} labelled structures are too few to train on (at least {MIN_EXAMPLES}); {found.unlabelled} "
        f"have no value of {', '.join(request.targets.values())}, {len(found.quarantine)} are quarantined{first}",
        where=request.data,
        remedy="check the names of the columns (--target NAME=COLUMN) and the quarantined rows",
    )


def _write_quarantine(path: Path, rows: Sequence[Quarantined]) -> None:
    lines = [json.dumps({"place": q.place, "id": q.id, "reason": q.reason}, ensure_ascii=False) for q in rows]
    files.write_whole(path, "".join(f"{line}\n" for line in lines))


def report_of(folder: Path, request: TrainingRequest) -> Trained:
    """The model in a folder."""
    card = json.loads((folder / "card.json").read_text())
    return Trained(folder, card, _warnings(card, request))


def _warnings(card: Mapping[str, Any], request: TrainingRequest) -> tuple[str, ...]:
    """Where the intervals do not hold; and the start may have seen the very labels that are held out: then the figures
    flatter."""
    from materia.surrogate import badly_covered, pretrained_card

    where = tuple(
        f"{name}: the 90 % interval holds for only {coverage:.0%} of {n} held-out {stratum}"
        for name, divisions in card.get("strata", {}).items()
        for stratum, coverage, n in badly_covered(divisions)
    )
    start = pretrained_card(request.settings)
    shared = sorted(set(start.get("targets", ())) & set(card["targets"]))
    if not shared:
        return where
    return (
        *where,
        f"the weights it started from were trained on {', '.join(shared)} too: if on the same compounds, the held-out "
        "figures and the intervals are too good; --start none is free of that",
    )
