"""What Slurm's words mean, without a Slurm: lines as Slurm 22.05 printed them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from materia.compute import Phase, Site, SlurmBackend, Task, Ticket, Verdict
from materia.compute._slurm_client import run_client
from materia.compute._slurm_script import sbatch_options
from materia.compute._slurm_text import (
    Record,
    launched,
    liveliest,
    parse_sacct,
    parse_squeue,
    read_submission,
    status_of,
)
from materia.errors import ConfigError
from materia.record import OutcomeKind, Resources


@pytest.mark.parametrize(
    ("state", "detail", "phase", "kind"),
    [
        ("PENDING", "Priority", Phase.WAITING, None),
        ("PENDING", "QOSMaxCpuPerUserLimit", Phase.WAITING, None),
        ("PENDING", "QOSMaxJobsPerUserLimit", Phase.WAITING, None),
        ("PENDING", "QOSMaxWallDurationPerJobLimit", Phase.ENDED, OutcomeKind.REFUSED),
        ("PENDING", "QOSMaxCpuPerJobLimit", Phase.ENDED, OutcomeKind.REFUSED),
        ("PENDING", "QOSMinCpuNotSatisfied", Phase.ENDED, OutcomeKind.REFUSED),
        ("PENDING", "PartitionConfig", Phase.ENDED, OutcomeKind.REFUSED),
        ("PENDING", "PartitionTimeLimit", Phase.ENDED, OutcomeKind.REFUSED),
        ("PENDING", "DependencyNeverSatisfied", Phase.ENDED, OutcomeKind.REFUSED),
        ("CONFIGURING", "None", Phase.WAITING, None),
        ("RUNNING", "None", Phase.RUNNING, None),
        ("COMPLETING", "None", Phase.RUNNING, None),
        ("COMPLETED", "0:0", Phase.ENDED, OutcomeKind.CRASHED),
        ("FAILED", "3:0", Phase.ENDED, OutcomeKind.CRASHED),
        ("CANCELLED by 0", "0:15", Phase.ENDED, OutcomeKind.CANCELLED),
        ("TIMEOUT", "0:0", Phase.ENDED, OutcomeKind.TIMEOUT),
        ("OUT_OF_MEMORY", "0:125", Phase.ENDED, OutcomeKind.OUT_OF_MEMORY),
        ("OUT_OF_ME+", "0:125", Phase.ENDED, OutcomeKind.OUT_OF_MEMORY),
        ("NODE_FAIL", "1:0", Phase.ENDED, OutcomeKind.NODE_FAILURE),
        ("PREEMPTED", "0:0", Phase.ENDED, OutcomeKind.NODE_FAILURE),
        ("SOMETHING_NEW", "", Phase.UNKNOWN, None),
    ],
)
def test_states(state: str, detail: str, phase: Phase, kind: OutcomeKind | None) -> None:
    status = status_of(Record("t", "7", 0, state, detail))
    assert status.phase is phase
    if kind is not None:
        assert status.kind is kind


@pytest.mark.parametrize(
    ("code", "out", "err", "verdict"),
    [
        (0, "1234\n", "", Verdict.ACCEPTED),
        (0, "1234;dev\n", "sbatch: a site's greeting", Verdict.ACCEPTED),
        (0, "", "", Verdict.UNKNOWN),
        (1, "", "sbatch: error: Batch job submission failed: Invalid qos specification", Verdict.REJECTED),
        (1, "", "sbatch: error: invalid partition specified: x", Verdict.REJECTED),
        (
            1,
            "",
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            Verdict.UNKNOWN,
        ),
        (1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv", Verdict.UNKNOWN),
        (1, "", "", Verdict.UNKNOWN),
        (-9, "", "", Verdict.UNKNOWN),
    ],
)
def test_submissions(code: int, out: str, err: str, verdict: Verdict) -> None:
    answer = read_submission(code, out, err, others_waiting=False)
    assert answer.verdict is verdict
    assert answer.handle == ("1234" if verdict is Verdict.ACCEPTED else "")


def test_a_limit_on_the_number_of_jobs_passes() -> None:
    words = (
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, "
        "user's size and/or time limits)"
    )
    assert read_submission(1, "", words, others_waiting=True).verdict is Verdict.BUSY
    assert read_submission(1, "", words, others_waiting=False).verdict is Verdict.REJECTED


def test_records() -> None:
    queue = parse_squeue("mt-1|12|0|13|RUNNING|n1|None\nmt-1|12|1|12|PENDING||JobArrayTaskLimit\ngarbage\n")
    assert [(r.token, r.slot, r.state, r.node, r.leads) for r in queue] == [
        ("mt-1", 0, "RUNNING", "n1", False),
        ("mt-1", 1, "PENDING", "", True),
    ]
    lines = (
        "mt-1|12_1|13|COMPLETED|n1|0:0",
        "mt-1|12_[0,2-4%2]|12|PENDING|None assigned|0:0",
        "t|13_[0-9,...|13|PENDING||0:0",
    )
    book = [(r.job, r.slot, r.node) for r in parse_sacct("\n".join(lines))]
    assert book == [("12", 1, "n1"), ("12", 0, ""), ("12", 2, ""), ("12", 3, ""), ("12", 4, ""), ("13", None, "")]


def endings(records: Iterable[Record], began: set[int]) -> list[tuple[OutcomeKind, str]]:
    found = [status_of(record) for record in launched(records, lambda record: record.slot in began)]
    assert {status.phase for status in found} == {Phase.ENDED}
    return [(status.kind, status.reason) for status in found]


def test_who_cancelled_it() -> None:
    """A person cancels what waits or what has begun; what a node would not start was cancelled by Slurm itself.

    As Slurm 22.05 had it of: an array whose number another job had had; members cancelled by a person while they ran
    and while they waited; a job the controller lost. Root is who the nodes act as, and who tests.
    """
    person, slurm = (OutcomeKind.CANCELLED, "cancelled"), (OutcomeKind.NODE_FAILURE, "not_launched")
    namesake = "t|254_0|256|CANCELLED by 0|gs01r1b01|0:15\nt|254_1|254|CANCELLED by 0|gs01r1b01|0:0\n"
    assert endings(parse_sacct(namesake), {0}) == [slurm, slurm]  # the one that leads takes the other along
    in_the_queue = "t|254|0|256|CANCELLED|gs01r1b01|None\nt|254|1|254|CANCELLED|gs01r1b01|None\n"
    assert endings(parse_squeue(in_the_queue), {0}) == [slurm, slurm]
    assert endings(parse_squeue(in_the_queue), {1}) == [slurm, person]  # another number met its like: that alone
    assert endings(parse_squeue(in_the_queue), {0, 1}) == [person, person]
    cancelled = "t|183_0|184|CANCELLED by 0|gs01r1b01|0:0\nt|183_[2-3%2]|183|CANCELLED by 0|None assigned|0:0\n"
    assert endings(parse_sacct(cancelled), {0}) == [person] * 3
    lost = "t|1_0|1|CANCELLED|gs01r1b01|0:0\n"
    assert endings(parse_sacct(lost), {0}) == [(OutcomeKind.NODE_FAILURE, "cancelled_by_nobody")]


def test_the_liveliest_record_counts() -> None:
    """Submitted twice: one member was turned away by the claim of the other, which still runs."""
    records = [Record("t", "7", 0, "RUNNING", "None"), Record("t", "8", 0, "FAILED", "75:0")]
    assert liveliest(records)["t", 0].phase is Phase.RUNNING
    assert liveliest(reversed(records))["t", 0].phase is Phase.RUNNING


def test_shipped_profiles_load_and_say_what_they_are() -> None:
    assert Site.load("dev").limits().walltime_s == 7200
    for name in ("generic", "leonardo", "lumi", "marenostrum5", "marenostrum5-acc"):
        site = Site.load(name)
        assert (site.name, site.verified) == (name, False)
    assert Site.load("marenostrum5", {"account": "ehpc01", "qos": "gp_debug"}).limits().walltime_s == 7200


def test_what_is_refused_counts_what_sbatch_is_asked_for() -> None:
    """Whole minutes of walltime, and cores that come with memory or with a GPU."""
    backend = _backend("marenostrum5", {"node": {"cores": 112, "walltime_s": 7230}, "qos": None})
    assert backend.refusal(Resources(walltime_s=7200 - 120)) == ""
    assert "gives 7080 to one job" in backend.refusal(Resources(walltime_s=7200 - 119))
    assert "MB" in backend.refusal(Resources(memory_mb=224000))
    assert _asked(backend, Resources(memory_mb=9000))["cpus-per-task"] == "5"
    assert _asked(_backend("marenostrum5-acc"), Resources())["cpus-per-task"] == "20"


def test_a_driver_inside_a_job_passes_nothing_of_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SBATCH_QOS", "SRUN_CPUS_PER_TASK", "CUDA_VISIBLE_DEVICES")
    for name in (*theirs, "SLURM_CONF", "MINE"):
        monkeypatch.setenv(name, "1")
    seen = {line.partition("=")[0] for line in run_client(Site(name="x"), "env").stdout.splitlines()}
    assert seen.isdisjoint(theirs)
    assert {"SLURM_CONF", "MINE"} <= seen
    monkeypatch.delenv("SLURM_JOB_ID")
    assert "CUDA_VISIBLE_DEVICES=1" in run_client(Site(name="x"), "env").stdout.splitlines()  # the user's own


def _backend(name: str, changes: dict[str, Any] | None = None) -> SlurmBackend:
    if shutil.which("sbatch") is None:
        pytest.skip("there is no sbatch here")
    return SlurmBackend(Site.load(name, changes))


def _asked(backend: SlurmBackend, resources: Resources) -> dict[str, str]:
    options = sbatch_options(backend.site, Task("t", Path(), (Ticket("k", 1, Path(), resources, "t"),)))
    return {name.lstrip("-"): value for name, _, value in (option.partition("=") for option in options)}


def test_profiles_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'marenostrum' \(shipped: dev, generic, leonardo, lumi, mareno"):
        Site.load("marenostrum")
    with pytest.raises(ConfigError, match="no such site profile"):
        Site.load(str(tmp_path / "mine.yaml"))
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\npartitoin: x\n")
    with pytest.raises(ConfigError, match="'partitoin'"):
        Site.load(str(mine))
    mine.write_text("[")
    with pytest.raises(ConfigError, match="no YAML"):
        Site.load(str(mine))
