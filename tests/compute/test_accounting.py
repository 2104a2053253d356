"""Shares of nodes, hours, kWh and CO2e, by hand."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from materia.compute import (
    ComputeSettings,
    Cost,
    Energy,
    JobManager,
    LocalBackend,
    Node,
    Site,
    SlurmBackend,
    cost_of,
    open_backend,
    summary,
)
from materia.compute._backend import Task, Ticket
from materia.compute._slurm_client import SlurmClient
from materia.compute._slurm_script import task_files
from materia.compute.testing import drive, make_job, open_ledger
from materia.errors import ConfigError
from materia.files import write_folder
from materia.record import AttemptRecord, OutcomeKind, Resources

ACC = Node("acc", cores=80, memory_mb=512_000, gpus=4)
FACTORS = Energy(node_power_w=800, pue=1.25, co2e_kg_per_kwh=0.2)


def attempt(wall_s: float = 3600, kind: OutcomeKind | None = OutcomeKind.COMPLETED, **changes: object) -> AttemptRecord:
    fields = {"cpu_s": wall_s / 2, "peak_mb": 500.0, "granted": {"cores": 1, "memory_mb": 1000}, **changes}
    return AttemptRecord(1, Resources(1, 1000, 7200), kind, wall_s, **fields)


@pytest.mark.parametrize(
    ("granted", "share"),
    [
        ({"cores": 1, "gpus": 1}, 1 / 4),  # one of four GPUs is a quarter of the node
        ({"cores": 40, "gpus": 1}, 1 / 2),
        ({"cores": 1, "memory_mb": 128_000}, 1 / 4),
        ({"cores": 8, "memory_mb": 1000}, 1 / 10),
        ({"cores": 100}, 1.0),
    ],
)
def test_the_share_is_what_others_cannot_use(granted: dict[str, float], share: float) -> None:
    assert ACC.share(granted) == pytest.approx(share)


def test_a_node_given_as_a_whole_is_charged_as_a_whole() -> None:
    whole = Node("w", cores=112, whole=True)
    assert whole.share({"cores": 1}) == 1
    cost = cost_of([attempt()], whole)
    assert (cost.node_s, cost.core_s) == (3600, 112 * 3600)


def test_what_is_not_known_is_not_guessed() -> None:
    assert Node("unknown").share({"cores": 1}) is None
    assert Node("no gpus", cores=80).share({"cores": 1, "gpus": 1}) is None
    assert Node("no memory", cores=80).share({"cores": 8, "memory_mb": 10**9}) == pytest.approx(0.1)
    told = summary(cost_of([attempt()], Node("unknown")), Energy(), hits=1)
    assert told["node_hours"] is told["kwh"] is told["co2e_kg"] is told["per_hit"]["kwh"] is None
    assert told["core_hours"] == 1
    assert [w.split(":")[0] for w in told["not_counted"]] == ["node-hours", "kWh", "CO2e"]


def test_hours_kwh_and_co2e_by_hand() -> None:
    """Two hours on 8 of 80 cores, one of them failed: 0.2 node-hours; at 800 W and PUE 1.25, 0.2 kWh; 0.04 kg."""
    granted = {"cores": 8, "memory_mb": 1000}
    runs = [attempt(granted=granted), attempt(granted=granted, kind=OutcomeKind.TIMEOUT)]
    cost = cost_of(runs, ACC)
    told = summary(cost, FACTORS, hits=2)
    assert (told["attempts"], told["wall_hours"], told["cpu_hours"]) == (2, 2, 1)
    assert told["core_hours"] == 16
    assert told["node_hours"] == pytest.approx(0.2)
    assert told["kwh"] == pytest.approx(0.2)
    assert told["co2e_kg"] == pytest.approx(0.04)
    assert told["per_hit"]["co2e_kg"] == pytest.approx(0.02)
    assert told["over_asked"] == {
        "idle_core_hours": 15,
        "walltime_asked_over_used": 2,
        "memory_asked_over_peak": 2,
    }
    assert told["not_counted"] == []
    assert told["factors"] == {"node_power_w": 800, "pue": 1.25, "co2e_kg_per_kwh": 0.2}


def test_without_a_pue_the_nodes_alone_are_counted_and_that_is_said() -> None:
    told = summary(cost_of([attempt()], ACC), Energy(node_power_w=800), hits=0)
    assert told["kwh"] == pytest.approx(0.8 / 80)
    assert "nodes alone" in told["not_counted"][0]
    assert told["per_hit"]["kwh"] is None


def test_parts_add_up_to_the_whole() -> None:
    runs = [attempt(wall_s=float(s), granted={"cores": s % 7 + 1, "memory_mb": 500 * s}) for s in range(1, 60)]
    parts = sum((cost_of([run], ACC) for run in runs), Cost())
    whole = cost_of(runs, ACC)
    assert math.isclose(parts.node_s or 0, whole.node_s or 1)
    assert (parts.attempts, parts.core_s) == (whole.attempts, pytest.approx(whole.core_s))


def test_what_never_ran_or_has_not_ended_costs_nothing_and_an_unknown_peak_is_left_out() -> None:
    assert cost_of([attempt(kind=None), attempt(wall_s=0, kind=OutcomeKind.REFUSED)], ACC) == Cost()
    cost = cost_of([attempt(), attempt(peak_mb=None)], ACC)
    assert cost.asked_mb_s / cost.peak_mb_s == 2


def test_an_attempt_from_before_allocations_were_recorded_counts_what_it_asked_for() -> None:
    assert cost_of([attempt(granted={})], ACC).node_s == pytest.approx(3600 / 80)


def test_a_node_comes_back_from_its_record() -> None:
    node = Node("x", 112, 4096, None, True, FACTORS)
    assert Node.from_record(node.to_record()) == node
    assert Node.from_record({}) == Node()


def test_factors_come_from_the_site_profile(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nnode: {cores: 80, gpus: 4}\nenergy: {node_power_w: 900}\n")
    site = Site.load(str(file), {"whole_nodes": True})
    assert (site.node.gpus, site.energy.node_power_w, site.energy.pue, site.whole_nodes) == (4, 900, None, True)
    file.write_text("name: mine\nenergy: {pue: 0.9}\n")
    with pytest.raises(ConfigError, match=r"energy\.pue"):
        Site.load(str(file))
    with pytest.raises(ValidationError):
        ComputeSettings(energy={"watts": 3})


def ticket(root: Path, asked: Resources) -> Ticket:
    return Ticket("a", 1, root / "jobs" / "a" / "1", asked, "mt-1")


def test_an_attempt_in_a_pilot_is_charged_its_slot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four jobs in pilots of two slots: a pilot asks for twice the most, and each job is charged half of that."""
    monkeypatch.setattr(SlurmClient, "_need", lambda self, program: None)
    pilots = {"below_s": 600, "count": 1, "slots": 2, "walltime_s": 3600}
    site = Site.model_validate({"name": "x", "pilots": pilots, "memory_margin_mb": 100})
    asked = [Resources(1, memory, 60) for memory in (300, 400, 500, 600)]
    members = tuple(replace(ticket(tmp_path, a), key=str(n), slot=n) for n, a in enumerate(asked))
    task = Task("mt-1", tmp_path / "tasks" / "mt-1", members)
    write_folder(task.folder, task_files(site, task))
    assert SlurmBackend(site).granted(members[0]) == {"cores": 1, "memory_mb": 650}  # (2 x 600 + 100) / 2


def test_slurm_is_charged_for_cores_raised_to_cover_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(SlurmClient, "_need", lambda self, program: None)
    mare = SlurmBackend(Site.load("marenostrum5"))
    granted = mare.granted(ticket(tmp_path, Resources(cores=1, memory_mb=6000)))
    assert granted == {"cores": 4, "memory_mb": 8000}  # 6100 MB with the margin, 2000 a core
    assert mare.node().share(granted) == pytest.approx(4 / 112)
    plain = SlurmBackend(Site(name="x", node={"cores": 10, "memory_mb": 10_000}, memory_margin_mb=100))
    assert plain.node().share(plain.granted(ticket(tmp_path, Resources(1, 4900)))) == pytest.approx(0.5)
    assert plain.node().name == "slurm x"


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        (["--gres=gpu:1"], 1),
        (["--licenses=x:3", "--gres=gpu:a100:2"], 2),
        (["--gpus=4"], 4),
        (["--gpus-per-node=h100:2"], 2),
        (["--constraint=gpu80gb"], None),
    ],
)
def test_gpus_are_those_the_site_asks_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], gpus: int | None
) -> None:
    monkeypatch.setattr(SlurmClient, "_need", lambda self, program: None)
    site = Site(name="acc", node={"cores": 80, "gpus": 4}, options=options)
    backend = SlurmBackend(site)
    granted = backend.granted(ticket(tmp_path, Resources(cores=1, memory_mb=1000)))
    assert granted.get("gpus") == gpus
    assert backend.node().share(granted) == pytest.approx(gpus / 4 if gpus else 1 / 80)
    assert SlurmBackend(Site(name="acc", options=["--exclusive"])).node().share({"cores": 1}) == 1


def test_every_attempt_of_a_real_job_is_counted(tmp_path: Path) -> None:
    """One crashes, one completes; a job whose launcher is killed is charged from its claim on; one that is cancelled
    too."""
    import json
    import os

    manager = JobManager(open_ledger(tmp_path), LocalBackend(cores=4), tmp_path)
    node = manager.backend.node()
    manager.ledger.add(make_job(tmp_path, "a", ["crash", "complete"], seconds=0.3))
    drive(manager)
    runs = manager.ledger.attempts()["a"]
    assert [run.kind for run in runs] == [OutcomeKind.CRASHED, OutcomeKind.COMPLETED]
    assert {run.place for run in runs} == {node.name}
    cost = cost_of(runs, node)
    assert cost.attempts == 2
    assert cost.node_s == pytest.approx(cost.wall_s / (os.cpu_count() or 1))
    assert cost.wall_s > 0.6

    manager.ledger.add(make_job(tmp_path, "b", ["hang", "complete"]))
    manager.ledger.add(make_job(tmp_path, "c", "hang"))
    begin = time.monotonic()
    while not all((tmp_path / "jobs" / key / "1/running.json").exists() for key in "bc"):
        assert time.monotonic() - begin < 30
        manager.advance()
        time.sleep(0.02)
    time.sleep(0.5)
    os.kill(json.loads((tmp_path / "jobs/b/1/claim.json").read_text())["pid"], 9)
    manager.cancel(["c"], "enough")
    drive(manager)
    found = manager.ledger.attempts()
    assert [run.kind for run in found["b"]] == [OutcomeKind.CRASHED, OutcomeKind.COMPLETED]
    assert [run.kind for run in found["c"]] == [OutcomeKind.CANCELLED]
    for lost in (found["b"][0], found["c"][0]):
        assert 0.5 <= lost.wall_s <= time.monotonic() - begin


def test_the_local_backend_takes_the_factors_of_its_settings() -> None:
    node = open_backend(ComputeSettings(cores=1, energy=FACTORS)).node()
    assert node.energy == FACTORS
    assert node.cores is not None
    assert node.name.startswith("local ")
