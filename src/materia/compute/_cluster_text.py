"""What Slurm says about a cluster: partitions, nodes, associations, QoS. Text in, values out.

The texts are those of ``sinfo``, ``sacctmgr -P`` and ``scontrol`` in Slurm 22.05; entries that a version does not
print are read as *no limit*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

SINFO_FORMAT: Final = "%R|%c|%m|%G|%f|%D"
_NO_LIMIT: Final = ("", "unlimited", "infinite", "n/a", "none", "(null)", "not_set", "-1")
_UNITS: Final = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}


@dataclass(frozen=True)
class Nodes:
    """Nodes of one partition that are alike: cores, memory in MB, GRES and features as Slurm writes them."""

    partition: str
    cores: int
    memory_mb: int
    gres: str
    features: str
    count: int


@dataclass(frozen=True)
class Allowance:
    """What one rule (a QoS, an association, a partition) allows; a limit that is absent is not set by it.

    Attributes:
        walltime_s: of one job.
        per_job: TRES of one job, or of its one node: ``{"cpu": 448}``; memory in MB.
        shared: TRES of all running jobs of a user, an account or the whole group: no job can have more.
        least: TRES a job must at least ask for.
        submitted: jobs in the queue at once.
        flags: as ``OverPartQOS``, lower case.
    """

    walltime_s: int | None
    per_job: Mapping[str, int]
    shared: Mapping[str, int]
    least: Mapping[str, int]
    submitted: int | None
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Association:
    """A user's right to an account, in one partition (or all: empty)."""

    account: str
    partition: str
    qos: frozenset[str]
    default_qos: str
    allowance: Allowance


def parse_config(text: str) -> dict[str, str]:
    """Lines of ``scontrol show config``: ``Name = value``."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def parse_partitions(text: str) -> dict[str, dict[str, str]]:
    """Lines of ``scontrol -o show partition``, by name of the partition."""
    found = {}
    for line in text.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" in fields:
            found[fields["PartitionName"]] = fields
    return found


def parse_sinfo(text: str) -> Iterator[Nodes]:
    """Lines of ``sinfo -h -a -e -o SINFO_FORMAT``."""
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        numbers = [re.match(r"\d+", part) for part in (parts[1:3] + parts[5:6])]
        if len(parts) == 6 and all(numbers):
            cores, memory, count = (int(number[0]) for number in numbers if number)
            yield Nodes(parts[0], cores, memory, _blank(parts[3]), _blank(parts[4]), count)


def parse_associations(text: str) -> list[Association]:
    """Table of ``sacctmgr -P show assoc`` (with its heading); rows of accounts themselves have no user."""
    return [
        Association(
            row["account"],
            row.get("partition", ""),
            frozenset(filter(None, row.get("qos", "").split(","))),
            row.get("def qos", ""),
            _allowance(row),
        )
        for row in _table(text)
        if row.get("user")
    ]


def parse_qos(text: str) -> dict[str, Allowance]:
    """Table of ``sacctmgr -P show qos`` (with its heading), by name."""
    return {row["name"]: _allowance(row) for row in _table(text) if row.get("name")}


def parse_duration(text: str) -> int | None:
    """Seconds in ``D-HH:MM:SS``, ``HH:MM:SS``, ``MM:SS`` or minutes; None for no limit."""
    text = text.strip()
    if text.lower() in _NO_LIMIT:
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        parts += [0] * (3 - len(parts))  # D-HH, D-HH:MM
    elif len(parts) == 1:
        parts = [0, parts[0], 0]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def parse_tres(text: str) -> dict[str, int]:
    """``cpu=448,mem=4G,gres/gpu=8`` as numbers, memory in MB; entries without a limit are left out."""
    found = {}
    for entry in text.split(","):
        name, _, value = entry.partition("=")
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)[nc]?", value.strip())
        if match:
            found[name.strip().lower()] = int(float(match[1]) * _UNITS[match[2]])
    return found


def parse_count(text: str) -> int | None:
    """A whole number; None for no limit or what is none."""
    return int(text) if text.strip().isdigit() else None


def tightest(*limits: int | None) -> int | None:
    """The smallest limit that is set."""
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _allowance(row: Mapping[str, str]) -> Allowance:
    counts = ("maxsubmit", "maxsubmitpu", "maxsubmitpa", "grpsubmit")
    return Allowance(
        walltime_s=parse_duration(row.get("maxwall", "")),
        per_job=_tightest_tres(row, "maxtres", "maxtrespernode"),
        shared=_tightest_tres(row, "maxtrespu", "maxtrespa", "grptres"),
        least=parse_tres(row.get("mintres", "")),
        submitted=tightest(*(parse_count(row.get(name, "")) for name in counts)),
        flags=frozenset(row.get("flags", "").lower().split(",")),
    )


def _tightest_tres(row: Mapping[str, str], *names: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        for tres, value in parse_tres(row.get(name, "")).items():
            found[tres] = min(value, found.get(tres, value))
    return found


def _table(text: str) -> Iterable[dict[str, str]]:
    lines = text.splitlines()
    heading = [name.strip().lower() for name in lines[0].split("|")] if lines else []
    for line in lines[1:]:
        yield dict(zip(heading, line.split("|"), strict=False))


def _blank(text: str) -> str:
    return "" if text in ("(null)", "N/A") else text
