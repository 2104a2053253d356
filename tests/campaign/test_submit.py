"""A campaign driven by Slurm jobs that follow each other: the same picks and labels as in the foreground."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from materia.compute import DriverLock, Site, driver_trouble
from materia.record import CampaignRecord, load_campaign
from tiny_campaign import calculations, essence, tiny

SLURM = {"backend": "slurm", "site": "dev"}
REQUEST = {"cores": 1, "memory_mb": 2000, "walltime_s": 60, "margin_s": 60, "options": []}


def materia(*arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "materia.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)


def slurm(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.gpaw
@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_chain_of_driver_jobs_finishes_the_campaign(
    slurm_site: Site, undisturbed: CampaignRecord, tmp_path: Path
) -> None:
    campaign = tiny(tmp_path, compute={**SLURM, "overrides": {"driver": REQUEST}})
    done = materia("submit", str(campaign.file), "--folder", str(campaign.folder), "--json")
    assert done.returncode == 0, done.stderr
    chain = json.loads(done.stdout)
    log = Path(chain["log"])
    again = materia("submit", str(campaign.file), "--folder", str(campaign.folder))
    assert again.returncode in (1, 75)  # in the queue, or holding the lock already
    try:
        deadline = time.monotonic() + 1200
        while slurm("squeue", "-h", f"--name={chain['name']}"):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(1)
    finally:
        subprocess.run(["scancel", f"--name={chain['name']}"], check=False, timeout=60)
    record = load_campaign(campaign.folder)
    assert record.state == "finished", log.read_text()
    assert essence(record) == essence(undisturbed)
    assert set(calculations(record.folder).values()) == {1}
    assert log.read_text().count(": started; job") >= 2, log.read_text()  # how many depends on the machine
    assert driver_trouble(campaign.folder) == ""
    done = materia("submit", str(campaign.folder))
    assert done.returncode == 1
    assert "the campaign is finished" in done.stderr


def test_a_campaign_that_does_not_run_on_slurm_is_refused(tmp_path: Path) -> None:
    campaign = tiny(tmp_path)
    done = materia("submit", str(campaign.file), "--folder", str(campaign.folder))
    assert done.returncode == 1
    assert "'local', not on Slurm" in done.stderr
    assert not campaign.folder.exists()


@pytest.mark.gpaw
def test_run_leaves_between_two_steps_when_its_time_is_over(tmp_path: Path) -> None:
    """One step is done in any case; the folder alone resumes it; a second driver is told to come back."""
    campaign = tiny(tmp_path, surrogate=None, search={"rounds": 1, "batch": 2, "acquisition": "random"})
    first = materia("run", str(campaign.file), "--folder", str(campaign.folder), "--seconds", "0")
    assert first.returncode == 75, first.stderr
    assert "not finished" in first.stdout
    assert not (campaign.folder / "lock").exists()
    record = load_campaign(campaign.folder)
    assert (record.state, len(record.rounds)) == ("running", 1)
    assert record.rounds[0].picks == ()
    with DriverLock(campaign.folder):
        kept_out = materia("run", str(campaign.folder))
    assert kept_out.returncode == 75
    assert "another driver holds this campaign" in kept_out.stderr
    second = materia("run", str(campaign.folder), "--seconds", "0", "--json")
    assert second.returncode == 75
    assert len(load_campaign(campaign.folder).rounds[0].picks) == 1
    status = json.loads(materia("status", str(campaign.folder), "--json").stdout)
    assert (status["state"], status["driver_trouble"]) == ("running", "")
