"""A profile's limits beside those of the cluster. Values in, findings out: nothing here asks Slurm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from materia.compute._cluster_text import Allowance, Nodes, parse_count, parse_duration, tightest
from materia.compute._site import Site


@dataclass(frozen=True)
class Finding:
    """One line of an examination.

    Attributes:
        name: what was looked at.
        ok: ``True``; ``False`` for what stops a campaign; ``None`` for what it does without, or is not known.
        detail: what was found.
        remedy: what to do, where something is missing.
        answered: ``False`` where the question got no answer: nothing was found out.
    """

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""
    answered: bool = True


def compare_limits(
    site: Site,
    partition: Mapping[str, str],
    nodes: Sequence[Nodes],
    rules: Sequence[Allowance],
    config: Mapping[str, str],
) -> Iterator[Finding]:
    """What the profile lets a job ask for, and what the cluster gives to one.

    Args:
        site: the profile.
        partition: its fields, from ``scontrol show partition``.
        nodes: the partition's nodes.
        rules: in Slurm's order: the first that sets a limit is the one that counts (partition's QoS, the job's
            QoS, association; https://slurm.schedmd.com/resource_limits.html). The partition's own walltime holds
            beside them.
        config: of the cluster, from ``scontrol show config``.
    """
    mine = site.limits()
    qos = f"qos_limits: {{{site.qos}: {{%s}}}}" if site.qos else "node: {%s}"
    walltime = _walltime(partition, rules)
    yield _compared("walltime", "s", mine.walltime_s, walltime, qos % "walltime_s: %d")
    if mine.walltime_s is None and not (site.driver.qos or site.driver.partition):
        of_driver = site.driver.walltime_s + site.walltime_margin_s
        yield _compared("driver walltime", "s", of_driver, walltime, qos % "walltime_s: %d")
    for name, unit, asked, of_nodes, of_partition, tres, entry in (
        ("cores", "cores", mine.cores, [n.cores for n in nodes], "MaxCPUsPerNode", "cpu", "node: {cores: %d}"),
        ("memory", "MB", mine.memory_mb, [n.memory_mb for n in nodes], "MaxMemPerNode", "mem", "node: {memory_mb: %d}"),
    ):
        largest = tightest(max(of_nodes, default=None), parse_count(partition.get(of_partition, "")))
        yield _compared(name, unit, asked, tightest(largest, _tres(tres, rules)), entry)
    yield from _memory_with_cores(site, partition, config)
    yield _submitted(site, rules, qos % "submitted: %d")
    least = next((rule.least["cpu"] for rule in rules if "cpu" in rule.least), 1)
    if least > site.min_cores:
        detail = f"a job must ask for at least {least} cores there, the profile lets it ask for {site.min_cores}"
        yield Finding("least cores", False, detail, f"in the profile: min_cores: {least}; or another QoS")


def _walltime(partition: Mapping[str, str], rules: Sequence[Allowance]) -> int | None:
    rule = next((rule for rule in rules if rule.walltime_s is not None), None)
    own = parse_duration(partition.get("MaxTime", ""))
    if rule is None:
        return own
    return rule.walltime_s if "partitiontimelimit" in rule.flags else tightest(rule.walltime_s, own)


def _tres(name: str, rules: Sequence[Allowance]) -> int | None:
    return tightest(
        next((rule.per_job[name] for rule in rules if name in rule.per_job), None),
        next((rule.shared[name] for rule in rules if name in rule.shared), None),
    )


def _compared(name: str, unit: str, mine: int | None, theirs: int | None, entry: str) -> Finding:
    if theirs is None:
        known = "no limit" if mine is None else f"{mine} {unit}"
        return Finding(name, True, f"{known} in the profile; the site shows none")
    if mine is None:
        detail = f"the site gives a job {theirs} {unit}; the profile has no limit, so nothing is refused beforehand"
        return Finding(name, None, detail, f"in the profile: {entry % theirs}")
    if mine > theirs:
        detail = f"the profile lets a job ask for {mine} {unit}, the site gives {theirs}: it would never start"
        return Finding(name, False, detail, f"in the profile: {entry % theirs}")
    return Finding(name, True, f"{mine} {unit} (the site gives {theirs})")


def _memory_with_cores(site: Site, partition: Mapping[str, str], config: Mapping[str, str]) -> Iterator[Finding]:
    """Where no memory is asked for, it is what a core brings: less than believed, and jobs end out of memory."""
    mine = site.memory_per_core_mb
    shown = (parse_count(of.get("DefMemPerCPU", "")) for of in (partition, config))
    theirs = next((value for value in shown if value is not None), None)
    if mine is None or site.request_memory or theirs is None:
        return
    if mine > theirs:
        detail = f"a core brings {theirs} MB there, the profile says {mine}"
        yield Finding("memory per core", False, detail, f"in the profile: memory_per_core_mb: {theirs}")
    else:
        yield Finding("memory per core", True, f"{mine} MB (the site gives {theirs})")


def _submitted(site: Site, rules: Sequence[Allowance], entry: str) -> Finding:
    theirs = next((rule.submitted for rule in rules if rule.submitted is not None), None)
    mine = site.limits().submitted
    if theirs is not None and (mine is None or mine > theirs):
        if mine is None and site.array_size <= theirs:
            return Finding("queue", True, f"no limit in the profile; the site takes {theirs} jobs, the rest waits")
        most = f"an array may have {site.array_size}" if mine is None else f"the profile says {mine}"
        detail = f"the site takes {theirs} jobs at once, {most}: sbatch would refuse them"
        return Finding("queue", False, detail, f"in the profile: {entry % theirs}")
    return Finding("queue", True, f"{mine or 'any number of'} jobs at once (the site: {theirs or 'no limit'})")
