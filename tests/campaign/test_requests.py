"""What a round's jobs ask for: learned from the rounds before, and of no consequence to what is found."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from materia.campaign._database import CampaignDatabase
from materia.campaign._requests import Requests
from materia.compute import ComputeSettings, EstimateSettings, JobManager, Ledger, LocalBackend
from materia.compute.testing import drive, make_job
from materia.record import CampaignRecord, JobSpec, Resources
from tiny_campaign import essence, tiny

CAUTIOUS = Resources(cores=1, memory_mb=1500, walltime_s=900)


def _campaign(folder: Path, stores: tuple[str, ...] = ()) -> Any:
    folder.mkdir(exist_ok=True)
    estimates = EstimateSettings(min_jobs=3, min_walltime_s=60, min_memory_mb=100)
    compute = ComputeSettings(estimates=estimates, stores=stores)
    database = CampaignDatabase(folder / "campaign.sqlite")
    return SimpleNamespace(folder=folder, database=database, settings=SimpleNamespace(compute=compute))


def _driver(campaign: Any) -> tuple[Requests, JobManager]:
    """As a driver makes them when it starts."""
    ledger = Ledger(campaign.database.connection)
    ledger.create_tables()
    manager = JobManager(ledger, LocalBackend(cores=4), campaign.folder)
    return Requests(campaign, ledger, manager.backend), manager


def _job(folder: Path, key: str) -> JobSpec:
    features = {"n_atoms": 2.0, "estimate_s": 100.0, "estimate_mb": 200.0}
    return dataclasses.replace(make_job(folder, key, resources=CAUTIOUS), features=features, family="test")


def test_a_round_asks_by_the_rounds_before_it_whatever_ends_meanwhile(tmp_path: Path) -> None:
    campaign = _campaign(tmp_path / "run")
    requests, manager = _driver(campaign)
    requests.open_round(0)
    for key in "abc":
        requests.add(0, _job(campaign.folder, key))
    drive(manager)
    requests.add(0, _job(campaign.folder, "d"))
    assert {job.resources for job in manager.ledger.jobs()} == {CAUTIOUS}
    drive(manager)
    requests.open_round(1)
    requests.open_round(1)  # killed before the round was open
    requests.add(1, _job(campaign.folder, "e"))
    learned = manager.ledger.job("e")
    assert learned is not None
    assert learned.spec.features["learned_from"] == 4
    assert learned.spec.resources == CAUTIOUS
    assert learned.resources.walltime_s < CAUTIOUS.walltime_s
    assert learned.resources.memory_mb < CAUTIOUS.memory_mb
    drive(manager)
    for again in (requests, _driver(campaign)[0]):  # the same driver, and one started after a crash
        key = f"after-{id(again)}"
        again.add(1, _job(campaign.folder, key))
        found = manager.ledger.job(key)
        assert found is not None
        assert found.resources == learned.resources
        assert found.spec.features == learned.spec.features


def test_a_later_campaign_learns_from_an_earlier_one(tmp_path: Path) -> None:
    first = _campaign(tmp_path / "first")
    requests, manager = _driver(first)
    for key in "abc":
        requests.add(0, _job(first.folder, key))
    drive(manager)
    second = _campaign(tmp_path / "second", (str(first.folder),))
    requests, manager = _driver(second)
    requests.open_round(0)
    requests.add(0, _job(second.folder, "x"))
    found = manager.ledger.job("x")
    assert found is not None
    assert found.spec.features["learned_from"] == 3
    assert found.resources.walltime_s < CAUTIOUS.walltime_s


def test_the_node_is_on_record(tmp_path: Path) -> None:
    campaign = _campaign(tmp_path / "run")
    _, manager = _driver(campaign)
    assert campaign.database.meta()["node"] == manager.backend.node().to_record()


@pytest.mark.slow
def test_what_is_asked_for_changes_no_key_no_pick_and_no_label(undisturbed: CampaignRecord, tmp_path: Path) -> None:
    """The second round of the one asks cautiously, that of the other by what the first took."""
    estimates = {"min_jobs": 3, "min_memory_mb": 150, "quantile": 0.9}
    other = tiny(tmp_path, compute={"estimates": estimates}).finish()
    assert essence(other) == essence(undisturbed)
    assert {job.key for job in other.jobs} == {job.key for job in undisturbed.jobs}
    assert not any(job.features["learned_from"] for job in undisturbed.jobs)
    learned = [job for job in other.jobs if job.features["learned_from"]]
    assert learned
    assert all(job.runs[0].asked.memory_mb < 1000 for job in learned)
    for record in (other, undisturbed):
        assert all(run.granted["cores"] == 1 and run.place.startswith("local ") for j in record.jobs for run in j.runs)
