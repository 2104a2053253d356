"""Profiles examined against a real Slurm: the right one passes, each wrong one is named with the remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from materia.compute import Finding, Site, SlurmBackend, check_site
from materia.record import Resources
from materia.resources import resource

pytestmark = pytest.mark.slurm


def examine(**changes: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_site(Site.load("dev", changes))}


def wrong(**changes: Any) -> dict[str, Finding]:
    return {name: finding for name, finding in examine(**changes).items() if finding.ok is False}


def slurm(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_right_profile_fits_and_nothing_is_submitted(slurm_site: Site) -> None:
    before = slurm("squeue", "-h", "-a", "-t", "all", "--name=materia-doctor")
    found = examine()
    assert {finding.ok for finding in found.values()} == {True}, found
    assert {"account", "QoS", "partition", "walltime", "array size", "accounting", "python"} <= set(found)
    assert slurm("squeue", "-h", "-a", "-t", "all", "--name=materia-doctor") == before == ""


@pytest.mark.parametrize(
    ("changes", "name", "detail", "remedy"),
    [
        ({"account": "nobody"}, "account", "no account 'nobody'", "account: one of ehpc01"),
        ({"qos": "gp_imaginary"}, "QoS", "no QoS 'gp_imaginary'", "gp_debug, gp_ehpc"),
        ({"qos": "normal"}, "QoS", "may not use normal with account ehpc01", "gp_debug, gp_ehpc"),
        ({"partition": "gp"}, "partition", "no partition 'gp'", "one of acc, gpp"),
        ({"qos_limits": {}}, "walltime", "259200 s, the site gives 7200", "gp_debug: {walltime_s: 7200}"),
        ({"array_size": 1001}, "array size", "MaxArraySize is 1001", "array_size: 1000"),
        ({"partition": "acc"}, "cores", "112 cores, the site gives 80", "cores: 80"),
        ({"node": {"memory_mb": 5000}}, "memory", "5000 MB, the site gives 4096", "memory_mb: 4096"),
        ({"options": ["--time=99"]}, "options", "--time", "take them out"),
        ({"options": ["--gres=gpu:1"]}, "smallest job", "node configuration is not available", "GRES"),
        ({"constraint": "highmem"}, "smallest job", "Invalid feature", "constraint"),
        ({"python": "/no/such/python"}, "python", "/no/such/python", "python or environment"),
        ({"environment": ["exit 3"]}, "python", "cannot load materia", "python or environment"),
    ],
)
def test_what_does_not_fit_is_named(
    slurm_site: Site, changes: dict[str, Any], name: str, detail: str, remedy: str
) -> None:
    found = wrong(**changes)
    assert name in found, found
    assert detail in found[name].detail
    assert remedy in found[name].remedy


def test_what_the_doctor_finds_unfit_is_what_slurm_would_let_pend(slurm_site: Site) -> None:
    """The walltime the doctor names is the one Slurm accepts and never starts; corrected as it says, it is refused."""
    site = Site.load("dev", {"qos_limits": {}})
    assert SlurmBackend(site).refusal(Resources(walltime_s=8000)) == ""
    said = wrong(qos_limits={})["walltime"].remedy.removeprefix("in the profile: ")
    corrected = Site.load("dev", yaml.safe_load(said))
    assert "8000 s of walltime" in SlurmBackend(corrected).refusal(Resources(walltime_s=8000))
    assert {finding.ok for finding in check_site(corrected)} == {True}


@pytest.fixture
def restricted(slurm_site: Site) -> Iterator[None]:
    """The partition acc takes one QoS only, and gp_ehpc few jobs."""
    slurm("scontrol", "update", "PartitionName=acc", "AllowQos=acc_ehpc")
    slurm("sacctmgr", "-i", "modify", "qos", "gp_ehpc", "set", "MaxSubmitJobsPerUser=40")
    yield
    slurm("sacctmgr", "-i", "modify", "qos", "gp_ehpc", "set", "MaxSubmitJobsPerUser=-1")
    slurm("scontrol", "update", "PartitionName=acc", "AllowQos=ALL")


def test_partition_that_takes_other_qos_and_limits_on_submissions(restricted: None) -> None:
    found = wrong(partition="acc", qos="acc_debug", node={"cores": 80})
    assert "takes only acc_ehpc, not acc_debug" in found["QoS"].detail
    assert "an array may have 1000" in wrong(qos="gp_ehpc")["queue"].detail
    assert wrong(qos="gp_ehpc", qos_limits={"gp_ehpc": {"submitted": 40, "walltime_s": 259200}}) == {}


def test_a_scheduler_without_an_answer_is_unknown(slurm_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = str(resource("slurm/dev-cluster.sh"))
    subprocess.run([cluster, "stop-ctld"], check=True, capture_output=True, timeout=60)
    try:
        found = check_site(Site.load("dev", {"command_timeout_s": 20}))
    finally:
        subprocess.run([cluster, "start-ctld"], check=True, capture_output=True, timeout=60)
    assert [(f.name, f.ok) for f in found if not f.answered] == [("scheduler", None)]
    assert "Unable to contact slurm controller" in found[-1].detail


def materia(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "materia.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def test_doctor_compares_the_site_of_a_campaign(slurm_site: Site, tmp_path: Path) -> None:
    content = yaml.safe_load(resource("experiments/tiny.yaml").read_text())
    content["compute"] = {"backend": "slurm", "site": "dev", "overrides": {"account": "nobody"}}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    done = materia("doctor", "--campaign", str(file), "--json")
    assert done.returncode == 1
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["site: account"]["ok"] is False
    assert "ehpc01" in rows["site: account"]["remedy"]
    shown = materia("doctor", "--campaign", str(file))
    assert "misfit   site: account" in shown.stdout
