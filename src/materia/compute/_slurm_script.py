"""What a task looks like to Slurm: its shape (one allocation a job, or pilots), its script, its options."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from materia import files
from materia.compute import launcher, pilot
from materia.compute._backend import Task, Ticket
from materia.compute._site import Site
from materia.record import Resources

_GPUS: Final = re.compile(r"--(?:gres=gpu|gpus|gpus-per-node|gpus-per-task)(?:[:=][A-Za-z][\w.-]*)?[:=](\d+)")


@dataclass(frozen=True)
class Shape:
    """The array of a task.

    Attributes:
        count: array members: the jobs themselves, or the pilots.
        slots: jobs a pilot runs at a time; 0 where every array member is one job.
        walltime_s: of one array member, without the site's margin.
    """

    count: int
    slots: int
    walltime_s: int

    @property
    def pilots(self) -> bool:
        return self.slots > 0


def short(site: Site, asked: Resources) -> bool:
    """Whether a job goes into a pilot. One of several ranks does not: its launcher wants the allocation for itself."""
    return site.pilots is not None and asked.ranks == 1 and asked.walltime_s <= site.pilots.below_s


def shape_of(site: Site, members: Sequence[Resources]) -> Shape:
    """The array for these jobs. A pilot has time for its longest job, and no more than its share of all of them."""
    longest = max(asked.walltime_s for asked in members)
    if site.pilots is None or len(members) == 1 or not all(short(site, asked) for asked in members):
        return Shape(len(members), 0, longest)
    slots = _slots(site, members)
    count = min(site.pilots.count, math.ceil(len(members) / slots))
    share = math.ceil(sum(asked.walltime_s for asked in members) / (count * slots)) + longest
    room = longest + math.ceil(pilot.ENDING_S) + 5  # 5 s: between the clock of the allocation and of the program
    return Shape(count, slots, max(room, min(site.pilots.walltime_s, share)))


def _slots(site: Site, members: Sequence[Resources]) -> int:
    """Jobs a pilot runs at a time: as many as wished, and as one allocation can hold."""
    wished, most = site.pilots.slots if site.pilots else 1, site.limits()
    if most.cores is not None:
        wished = min(wished, most.cores // max(asked.cores for asked in members))
    if most.memory_mb is not None:
        room = most.memory_mb - site.memory_margin_mb
        wished = min(wished, room // max(asked.memory_mb for asked in members))
    return max(1, wished)


def task_files(site: Site, task: Task) -> dict[str, str]:
    """The files of the task's folder. ``members.json`` keeps the shape: the site profile may change meanwhile."""
    asked = [member.resources for member in task.members]
    shape = shape_of(site, asked)
    slots = max(1, shape.slots)
    members: dict[str, Any] = {
        "folders": [str(member.folder) for member in task.members],
        "pilot": asdict(shape) if shape.pilots else None,
        "granted": {name: amount / slots for name, amount in allocation(site, asked, slots).items()},
    }
    return {"members.json": files.dump(members), "job.sh": _script(site, task.folder, shape)}


def task_folder(ticket: Ticket) -> Path:
    """The folder of the task a ticket is in."""
    return ticket.folder.parents[2] / "tasks" / ticket.token


def member_log(folder: Path, slot: int) -> Path:
    """What an array member's script opens as the first thing it does."""
    return folder / f"member-{slot}.log"


def read_shape(folder: Path) -> Shape | None:
    """The shape of a task of pilots as it was submitted; None where every member is one job."""
    record: Mapping[str, Any] = files.read_object(folder / "members.json") or {}
    return Shape(**record["pilot"]) if record.get("pilot") else None


def read_granted(folder: Path) -> Mapping[str, float]:
    """What each job of a task was granted when it was submitted; empty where the folder does not say."""
    granted: Mapping[str, float] = (files.read_object(folder / "members.json") or {}).get("granted", {})
    return granted


def site_python(site: Site) -> str:
    """The interpreter on the nodes."""
    return site.python or sys.executable


def _script(site: Site, folder: Path, shape: Shape) -> str:
    """No name, formula or path reaches the shell unquoted."""
    members, beat = str(folder / "members.json"), ["--heartbeat", f"{site.heartbeat_s:g}"]
    if shape.pilots:
        says = "# One member of this array is a pilot: it runs attempts of members.json, as many as it can claim."
        run = shlex.join([site_python(site), "-P", pilot.__file__, members, *beat])
    else:
        says = "# One member of this array runs one attempt; members.json says which."
        run = shlex.join([site_python(site), "-P", launcher.__file__, "--member", members])
        run += f' "$SLURM_ARRAY_TASK_ID" {shlex.join(beat)}'
    log = f'{shlex.quote(str(folder))}/"member-$SLURM_ARRAY_TASK_ID.log"'
    return "\n".join(["#!/bin/bash", says, f"exec >>{log} 2>&1", *site.environment, f"exec {run}"]) + "\n"


def allocation(site: Site, members: Sequence[Resources], at_once: int = 1) -> dict[str, int]:
    """``cores``, ``memory_mb`` and ``gpus`` of an array member that runs ``at_once`` of these jobs at a time.

    The most that one of them needs, with the margin; cores are raised where memory comes with them, to the same number
    for each rank. The GPUs are those that the site's options ask for.
    """
    cores = max(site.min_cores, at_once * max(asked.cores for asked in members))
    memory_mb = at_once * max(asked.memory_mb for asked in members) + site.memory_margin_mb
    if site.memory_per_core_mb:
        cores = max(cores, math.ceil(memory_mb / site.memory_per_core_mb))
    ranks = max(asked.ranks for asked in members)
    cores = math.ceil(cores / ranks) * ranks
    if site.memory_per_core_mb and not site.request_memory:
        memory_mb = cores * site.memory_per_core_mb
    gpus = sum(int(asked[1]) for option in site.options if (asked := _GPUS.fullmatch(option)))
    return {"cores": cores, "memory_mb": memory_mb} | ({"gpus": gpus} if gpus else {})


def sbatch_options(site: Site, task: Task) -> list[str]:
    """Everything but the script: name, array, resources, queue."""
    members = [member.resources for member in task.members]
    shape = read_shape(task.folder) or shape_of(site.model_copy(update={"pilots": None}), members)
    granted = allocation(site, members, max(1, shape.slots))
    ranks = max(asked.ranks for asked in members)  # the same for all members of an array
    throttle = f"%{site.array_throttle}" if site.array_throttle else ""
    options = {
        "job-name": task.token,
        "array": f"0-{shape.count - 1}{throttle}",
        "nodes": "1",
        "ntasks": str(ranks),
        "cpus-per-task": str(granted["cores"] // ranks),
        "time": str(math.ceil((shape.walltime_s + site.walltime_margin_s) / 60)),
        "partition": site.partition,
        "qos": site.qos,
        "account": site.account,
        "constraint": site.constraint,
        "mem": f"{granted['memory_mb']}M" if site.request_memory else None,
        "chdir": "/",  # every path in the script is absolute
        "output": "/dev/null",  # the script opens its own log: Slurm would expand % and \ in its path
    }
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return ["--parsable", "--no-requeue", *given, *site.options]
