"""A profile beside a cluster's limits, without a Slurm: texts as Slurm 22.05 printed them, some values changed."""

from __future__ import annotations

import pytest

from materia.compute import Finding, Site
from materia.compute._cluster_text import (
    Nodes,
    parse_associations,
    parse_config,
    parse_duration,
    parse_partitions,
    parse_qos,
    parse_sinfo,
    parse_tres,
)
from materia.compute._site_limits import compare_limits

PARTITION = (
    "PartitionName=gpp AllowGroups=ALL AllowAccounts=ALL AllowQos=gp_debug,gp_ehpc Default=YES QoS=N/A "
    "DefaultTime=00:10:00 MaxNodes=UNLIMITED MaxTime=1-00:00:00 MaxCPUsPerNode=UNLIMITED Nodes=gs01r1b[01-04] "
    "State=UP TotalCPUs=448 DefMemPerCPU=2000 MaxMemPerNode=UNLIMITED TRES=cpu=448,mem=16G,node=4,billing=448\n"
)
QOS = (
    "Name|Flags|MaxWall|MaxTRES|MaxTRESPerNode|MaxTRESPU|MaxTRESPA|GrpTRES|MinTRES|MaxSubmitPU|MaxSubmitPA|GrpSubmit\n"
    "gp_debug|DenyOnLimit|02:00:00|||cpu=80||||20||\n"
    "gp_ehpc||3-00:00:00|cpu=448,mem=100G||||||366|1000|\n"
    "gp_long|PartitionTimeLimit|5-00:00:00|||||||||\n"
    "whole|||||||node=1|cpu=112|||\n"
)
ASSOCIATIONS = (
    "Cluster|Account|User|Partition|QOS|Def QOS|MaxSubmit|MaxWall|MaxTRES|MaxTRESPerNode|GrpTRES|GrpSubmit\n"
    "dev|ehpc01|||normal||||||||\n"
    "dev|ehpc01|me||gp_debug,gp_ehpc|gp_ehpc|50|12:00:00||||\n"
)
NODES = (Nodes("gpp", 112, 224000, "", "", 4), Nodes("gpp", 112, 1000000, "", "highmem", 2))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3-00:00:00", 259200),
        ("02:00:00", 7200),
        ("30:15", 1815),
        ("90", 5400),
        ("2-12", 216000),
        ("1-06:30", 109800),
        ("UNLIMITED", None),
        ("infinite", None),
        ("", None),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds


def test_tres() -> None:
    assert parse_tres("cpu=448,mem=4G,gres/gpu=8") == {"cpu": 448, "mem": 4096, "gres/gpu": 8}
    assert parse_tres("mem=1.50T") == {"mem": 1572864}
    assert parse_tres("") == {}


def test_texts() -> None:
    assert parse_config("Configuration data as of x\nMaxArraySize            = 1001\n")["MaxArraySize"] == "1001"
    assert parse_partitions(PARTITION)["gpp"]["TRES"] == "cpu=448,mem=16G,node=4,billing=448"
    lines = "gpp|112|4096|(null)|(null)|4\nacc|80+|4096+|gpu:4|highmem|2\ngarbage\n"
    assert list(parse_sinfo(lines)) == [
        Nodes("gpp", 112, 4096, "", "", 4),
        Nodes("acc", 80, 4096, "gpu:4", "highmem", 2),
    ]
    (mine,) = parse_associations(ASSOCIATIONS)
    assert (mine.account, mine.default_qos, mine.qos) == ("ehpc01", "gp_ehpc", {"gp_debug", "gp_ehpc"})
    assert (mine.allowance.walltime_s, mine.allowance.submitted) == (43200, 50)
    qos = parse_qos(QOS)
    assert qos["gp_ehpc"].per_job == {"cpu": 448, "mem": 102400}
    assert qos["gp_ehpc"].submitted == 366
    assert qos["gp_debug"].shared == {"cpu": 80}
    assert parse_qos("") == {}


def compare(qos: str, *, association: bool = False, **profile: object) -> dict[str, Finding]:
    rules = [parse_qos(QOS)[qos]]
    if association:
        rules.append(parse_associations(ASSOCIATIONS)[0].allowance)
    site = Site.model_validate({"name": "x", "qos": qos, "array_size": 10, **profile})
    found = compare_limits(site, parse_partitions(PARTITION)["gpp"], NODES, rules, {})
    return {finding.name: finding for finding in found}


def test_what_fits() -> None:
    found = compare("gp_ehpc", node={"cores": 112, "memory_mb": 100000, "walltime_s": 86400, "submitted": 366})
    assert {finding.ok for finding in found.values()} == {True}


def test_the_partition_s_walltime_holds_unless_the_qos_lifts_it() -> None:
    asked = {"node": {"walltime_s": 90000}}
    found = compare("gp_ehpc", **asked)["walltime"]
    assert found.ok is False
    assert "90000 s" in found.detail
    assert found.remedy == "in the profile: qos_limits: {gp_ehpc: {walltime_s: 86400}}"
    assert compare("gp_long", **asked)["walltime"].ok


def test_the_first_rule_that_sets_a_limit_counts() -> None:
    assert compare("gp_debug", association=True, node={"walltime_s": 7200})["walltime"].ok
    assert compare("gp_debug", association=True, node={"walltime_s": 7201})["walltime"].ok is False
    assert compare("whole", association=True, node={"walltime_s": 43200})["walltime"].ok
    assert compare("whole", association=True, node={"walltime_s": 43201})["walltime"].ok is False


def test_the_driver_s_walltime_where_the_profile_knows_no_limit() -> None:
    assert compare("gp_debug")["driver walltime"].ok is False
    assert "driver walltime" not in compare("gp_debug", node={"walltime_s": 7200})
    assert compare("gp_ehpc")["driver walltime"].ok


def test_no_job_can_have_more_than_all_jobs_of_a_user() -> None:
    """Slurm names a limit per user, which passes for small jobs: this one would wait for ever."""
    assert compare("gp_debug", node={"cores": 81})["cores"].ok is False
    assert compare("gp_debug", node={"cores": 80})["cores"].ok


def test_cores_and_memory_of_the_largest_node() -> None:
    found = compare("whole", node={"cores": 113, "memory_mb": 1000001}, min_cores=112)
    assert (found["cores"].ok, found["memory"].ok) == (False, False)
    assert "node: {memory_mb: 1000000}" in found["memory"].remedy
    assert compare("gp_ehpc", node={"memory_mb": 102401})["memory"].ok is False


def test_what_the_profile_does_not_say_is_named_and_no_misfit() -> None:
    found = compare("gp_ehpc")
    assert [found[name].ok for name in ("walltime", "cores", "memory")] == [None] * 3
    assert "cores: 112" in found["cores"].remedy


def test_jobs_in_the_queue() -> None:
    assert compare("gp_debug")["queue"].ok
    assert compare("gp_debug", array_size=21)["queue"].ok is False
    found = compare("gp_debug", qos_limits={"gp_debug": {"submitted": 300}})["queue"]
    assert found.ok is False
    assert found.remedy == "in the profile: qos_limits: {gp_debug: {submitted: 20}}"


def test_a_qos_that_wants_whole_nodes() -> None:
    assert compare("whole")["least cores"].ok is False
    assert "least cores" not in compare("whole", min_cores=112)


def test_memory_that_comes_with_cores() -> None:
    found = compare("gp_ehpc", request_memory=False, memory_per_core_mb=2001)["memory per core"]
    assert found.ok is False
    assert "memory_per_core_mb: 2000" in found.remedy
    assert compare("gp_ehpc", request_memory=False, memory_per_core_mb=2000)["memory per core"].ok
