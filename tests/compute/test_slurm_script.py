"""The shape of a task, and what became of a job no pilot has claimed."""

from __future__ import annotations

from pathlib import Path

import pytest

from materia.compute import Phase, Site, Status
from materia.compute._backend import PASSED_OVER, Task, Ticket
from materia.compute._slurm_script import Shape, read_shape, sbatch_options, shape_of, task_files
from materia.compute._slurm_watch import unclaimed_in_pilots
from materia.files import write_folder
from materia.record import OutcomeKind, Resources

PILOTS = {"below_s": 600, "count": 4, "slots": 2, "walltime_s": 3600}


def site(**entries: object) -> Site:
    return Site.model_validate({"name": "here", "walltime_margin_s": 60, "memory_margin_mb": 100, **entries})


def task(tmp_path: Path, *asked: Resources) -> Task:
    members = [Ticket(f"job{n}", 1, tmp_path / "jobs" / f"job{n}" / "1", r, "mt-1", n) for n, r in enumerate(asked)]
    return Task("mt-1", tmp_path / "tasks" / "mt-1", tuple(members))


def test_shape_without_pilots() -> None:
    asked = [Resources(walltime_s=100), Resources(walltime_s=200)]
    assert shape_of(site(), asked) == Shape(2, 0, 200)
    assert shape_of(site(pilots={**PILOTS, "below_s": 150}), asked) == Shape(2, 0, 200)  # one of them is too long
    assert shape_of(site(pilots=PILOTS), asked[:1]) == Shape(1, 0, 100)  # nothing to share


def test_pilots_take_their_share_of_the_time() -> None:
    # 80 jobs of 100 s over 4 pilots of 2 slots: 1000 s each, and the longest job once more
    assert shape_of(site(pilots=PILOTS), [Resources(walltime_s=100)] * 80) == Shape(4, 2, 1100)
    assert shape_of(site(pilots=PILOTS), [Resources(walltime_s=100)] * 800) == Shape(4, 2, 3600)
    assert shape_of(site(pilots=PILOTS), [Resources(walltime_s=100)] * 3) == Shape(2, 2, 175)


def test_a_pilot_always_has_time_for_its_longest_job() -> None:
    short = site(pilots={**PILOTS, "walltime_s": 60})
    assert shape_of(short, [Resources(walltime_s=500)] * 9).walltime_s == 510


def test_slots_fit_the_node() -> None:
    node = {"cores": 8, "memory_mb": 4100}
    assert shape_of(site(pilots={**PILOTS, "slots": 9}, node=node), [Resources(2, 2000, 100)] * 99).slots == 2  # memory
    light = [Resources(2, 100, 100)] * 99
    assert shape_of(site(pilots={**PILOTS, "slots": 9}, node=node), light).slots == 4


def test_the_array_asks_for_the_most_of_its_members(tmp_path: Path) -> None:
    jobs = task(tmp_path, Resources(1, 900, 100), Resources(1, 1000, 130))
    options = sbatch_options(site(), jobs)
    assert {"--array=0-1", "--mem=1100M", "--time=4", "--cpus-per-task=1"} <= set(options)  # 130 s + 60 s


def test_the_shape_is_kept_with_the_task(tmp_path: Path) -> None:
    """The profile may change between a submission and the driver that goes on with it."""
    jobs = task(tmp_path, *[Resources(2, 900, 100)] * 10)
    write_folder(jobs.folder, task_files(site(pilots=PILOTS), jobs))
    assert read_shape(jobs.folder) == Shape(4, 2, 225)
    options = sbatch_options(site(), jobs)
    assert {"--array=0-3", "--mem=1900M", "--time=5", "--cpus-per-task=4"} <= set(options)


def ended(kind: OutcomeKind) -> Status:
    return Status(Phase.ENDED, kind)


@pytest.mark.parametrize(
    ("pilots", "phase"),
    [
        ([Status(Phase.WAITING), ended(OutcomeKind.CRASHED)], Phase.WAITING),
        ([Status(Phase.RUNNING), None], Phase.WAITING),
        ([ended(OutcomeKind.CRASHED), Status(Phase.UNKNOWN)], Phase.UNKNOWN),
        ([ended(OutcomeKind.CRASHED), ended(OutcomeKind.CANCELLED)], Phase.ABSENT),
        ([ended(OutcomeKind.CANCELLED), ended(OutcomeKind.CANCELLED)], Phase.ENDED),
        ([ended(OutcomeKind.REFUSED), ended(OutcomeKind.CANCELLED)], Phase.ENDED),
    ],
)
def test_a_job_no_pilot_claimed(pilots: list[Status | None], phase: Phase) -> None:
    status = unclaimed_in_pilots(pilots)
    assert status is not None
    assert status.phase is phase
    assert (status.reason == PASSED_OVER) == (phase is Phase.ABSENT)


def test_a_pilot_that_is_not_known_leaves_it_open() -> None:
    assert unclaimed_in_pilots([ended(OutcomeKind.CRASHED), None]) is None
