"""A training as one Slurm job: submitted once, run by torchrun, requeued until it is done."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from materia import files
from materia.campaign._request import write_request
from materia.campaign._train import Trained, begun, finished, report_of, settle_request
from materia.campaign._train_job import FOLDER, SiteJob, job_script, options
from materia.compute import DriverLock, Phase, Site, SlurmBackend, Task, Ticket, Verdict, run_client
from materia.errors import SchedulerError
from materia.quantities import Quantity
from materia.record import OutcomeKind
from materia.surrogate import SurrogateSettings

_SUBMISSION: Final = "submission.json"


@dataclass(frozen=True)
class SubmittedTraining:
    """A training on its way on a site.

    Attributes:
        folder: model folder.
        job: Slurm's id.
        state: ``waiting``, ``running`` or ``unknown`` (Slurm could not be asked, or does not say yet).
    """

    folder: Path
    job: str
    state: str

    @property
    def log(self) -> Path:
        return self.folder / FOLDER / f"job-{self.job}.log"

    def to_json(self) -> dict[str, Any]:
        return {"model": str(self.folder), "job": self.job, "state": self.state, "log": str(self.log)}


def train_on_site(
    data: str | Path | None = None,
    targets: Sequence[str] | Mapping[str, str] = (),
    out: str | Path = "model",
    *,
    site: str,
    overrides: Mapping[str, Any] | None = None,
    job: SiteJob | None = None,
    wait: bool = False,
    quantities: Sequence[Quantity | str] = (),
    start: str | Path | None = "base",
    settings: SurrogateSettings | None = None,
    seed: int = 0,
    resume: bool = False,
) -> Trained | SubmittedTraining:
    """Train as :func:`train` does, as a job on a Slurm site; the same call says where it stands.

    Args:
        site: a shipped profile or the path of one; ``overrides`` replace its entries.
        job: nodes, processes, memory and walltime to ask for.
        wait: until the model is there.

    Returns:
        the model where it is done, else the job.

    Raises:
        SchedulerError: the site refuses the job, or (with ``wait``) it ended without a model.
    """
    folder, profile = Path(out).absolute(), Site.load(site, overrides)
    request = settle_request(folder, data, targets, quantities, start, settings, seed, resume)
    if not finished(folder):
        if not begun(folder):
            write_request(folder, request)
        submitted = _submitted(folder, profile, job or SiteJob())
        if not wait and not finished(folder):
            return submitted
        _wait(folder, profile)
    return report_of(folder, request)


def _submitted(folder: Path, site: Site, job: SiteJob) -> SubmittedTraining:
    """Submit the training in ``folder`` unless it is on its way; one that ended without a model is submitted again.

    The intent is on disk before ``sbatch`` runs and the job's name is in it: a call that was cut off in between
    is continued by the next, which asks Slurm for that name first.

    Raises:
        SchedulerError: the site refuses the job, or it is not certain yet whether it has it.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    with DriverLock(place):
        backend = SlurmBackend(site)
        record = _read(place)
        if record is not None and not record["job"]:
            record = _found(place, backend, record)
        if record is not None:
            state = _state(place, backend, record)
            if state:
                return SubmittedTraining(folder, record["job"], state)
        refusal = backend.refusal(job.on_a_node)
        if refusal:
            raise SchedulerError(refusal, where=f"site {site.name}", remedy="ask for less")
        return SubmittedTraining(folder, _submit(place, site, job), Phase.WAITING.value)


def _wait(folder: Path, site: Site) -> None:
    """Until the model is there. A file system may show it a while after the job has ended.

    Raises:
        SchedulerError: the job ended without a model.
    """
    backend, place = SlurmBackend(site), folder / FOLDER
    ended_at = None
    while not finished(folder):
        record = _read(place)
        if record is None or not _state(place, backend, record):
            ended_at = ended_at or time.monotonic()
            if time.monotonic() - ended_at >= site.patience_s:
                said = (_read(place, ended=True) or {}).get("ended", "no reason is known")
                raise SchedulerError(
                    f"the training ended without a model: {said}",
                    where=place,
                    remedy="see the log there; the same command submits it again, from its last checkpoint",
                )
        time.sleep(site.poll_interval_s)


def _read(place: Path, *, ended: bool = False) -> dict[str, Any] | None:
    """The submission that is under way (or has ended), or None."""
    try:
        record: dict[str, Any] = json.loads((place / _SUBMISSION).read_text())
    except FileNotFoundError:
        return None
    return record if ended or not record["ended"] else None


def _write(place: Path, record: Mapping[str, Any]) -> None:
    files.write_whole(place / _SUBMISSION, json.dumps(record, indent=1) + "\n")


def _found(place: Path, backend: SlurmBackend, record: dict[str, Any]) -> dict[str, Any] | None:
    """A submission that was cut off: with its id where Slurm has it, None where it certainly has not."""
    ticket = _ticket(place, record)
    task = Task(record["token"], place / "task", (ticket,), record["since"])
    answer = backend.find([task]).get(record["token"])
    if answer is None:
        raise SchedulerError(
            f"it is not certain yet whether Slurm has the job {record['token']}"
            + (f": {backend.trouble}" if backend.trouble else ""),
            where=place,
            remedy="the same command again in a few minutes",
        )
    if answer.verdict is not Verdict.ACCEPTED:
        return None
    record = {**record, "job": answer.handle}
    _write(place, record)
    return record


def _state(place: Path, backend: SlurmBackend, record: dict[str, Any]) -> str:
    """Where the job stands; empty where it has ended, which is then written down.

    Raises:
        SchedulerError: Slurm would never start it; it is taken back.
    """
    ticket = _ticket(place, record)
    status = backend.poll([ticket])[ticket.id]
    if status.phase is not Phase.ENDED:
        return "unknown" if status.phase is Phase.ABSENT else status.phase.value
    _write(place, {**record, "ended": status.message or status.kind.value})
    if status.kind is OutcomeKind.REFUSED:
        backend.cancel([ticket])
        raise SchedulerError(
            status.message, where=place, remedy="ask for what the site gives: --site-set, --walltime-s"
        )
    return ""


def _ticket(place: Path, record: Mapping[str, Any]) -> Ticket:
    """The job as the backend knows one: the only member of its array."""
    asked = SiteJob(**record["asked"]).on_a_node
    return Ticket("training", 1, place / "attempt", asked, record["token"], 0, record["job"], 1, record["since"])


def _submit(place: Path, site: Site, job: SiteJob) -> str:
    record = {
        "token": f"mt-train-{uuid4().hex[:16]}",
        "job": "",
        "since": time.time(),
        "asked": asdict(job),
        "ended": "",
    }
    script = place / "job.sh"
    files.write_whole(script, job_script(place.parent, site, job))
    _write(place, record)
    argv = ["sbatch", *options(str(record["token"]), site, job), str(script)]
    try:
        answer = run_client(site, *argv)
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(
            f"sbatch gave no answer in {site.command_timeout_s} s",
            where=f"site {site.name}",
            remedy="the same command finds out whether the job is there",
        ) from error
    handle = answer.stdout.strip().split(";")[0]
    if answer.returncode != 0 or not handle.isdigit():
        raise SchedulerError(
            f"sbatch says: {answer.stderr.strip() or answer.stdout.strip()}",
            where=f"site {site.name}",
            remedy=f"correct the site profile or --site-set; the same command after {site.settle_s:.0f} s, when it is "
            "certain that Slurm has nothing",
        )
    _write(place, {**record, "job": handle})
    return handle
