from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import read

from materia.crystal import Crystal
from materia.data import Dataset, Entry, JobResult, content_digest, export
from materia.errors import DatasetError
from materia.record import Label


def entry(name: str, a: float, gap: float | None) -> Entry:
    initial = Crystal.from_ase(bulk("GaAs", "zincblende", a=a))
    relaxed = Crystal.from_ase(bulk("GaAs", "zincblende", a=a * 1.01))
    labels = () if gap is None else (Label("gap_pbe", gap, "PBE", "standard", "abc", f"job-{name}"),)
    status = "failed" if gap is None else "completed"
    job = JobResult(f"job-{name}", "gap", status, "" if gap else "not_converged", "", {"gap_pbe": gap}, {"cpu_s": 1.5})
    return Entry(
        id=name,
        prototype="zincblende",
        status="failed" if gap is None else "computed",
        reason="not_converged" if gap is None else "",
        initial=initial,
        structure=relaxed,
        labels=labels,
        jobs=(job,),
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    entries = [entry(f"e{k:03d}", 5.5 + 0.001 * k, None if k % 10 == 3 else 0.1 * k) for k in range(120)]
    return Dataset(tuple(entries), {"name": "test", "licence": "CC-BY-4.0"}).save(tmp_path / "set")


def test_round_trip_keeps_everything(dataset: Dataset, tmp_path: Path) -> None:
    again = Dataset.load(tmp_path / "set")
    assert again.digest == dataset.digest == again.card["digest"]
    assert [e.to_record() for e in again] == [e.to_record() for e in dataset]
    assert (again.card["n"], again.card["n_computed"], again.card["failures"]) == (120, 108, 12)
    assert (again.card["materials"], again.card["elements"], again.card["prototypes"]) == (1, 2, 1)
    assert len(list((tmp_path / "set").glob("shard-*.jsonl"))) == 3


def test_structure_before_relaxation_is_kept_beside_the_relaxed_one(dataset: Dataset) -> None:
    first = dataset.entries[0]
    assert first.structure.volume == pytest.approx(first.initial.volume * 1.01**3)


def test_jobs_are_found_by_key_failures_included(dataset: Dataset) -> None:
    assert dataset.jobs["job-e001"].status == "completed"
    assert dataset.jobs["job-e003"].status == "failed"
    assert "job-e999" not in dataset.jobs


def test_digest_is_of_the_content_not_of_its_order(dataset: Dataset) -> None:
    entries = list(dataset.entries)
    assert content_digest(reversed(entries)) == dataset.digest
    changed = [entry("e000", 5.5, 0.001), *entries[1:]]
    assert content_digest(changed) != dataset.digest


def test_a_changed_value_is_noticed_on_loading(dataset: Dataset, tmp_path: Path) -> None:
    shard = tmp_path / "set" / "shard-000.jsonl"
    lines = shard.read_text().splitlines()
    row = json.loads(lines[5])
    row["labels"][0]["value"] += 1e-6
    lines[5] = json.dumps(row)
    shard.write_text("\n".join(lines) + "\n")
    with pytest.raises(DatasetError, match="digest"):
        Dataset.load(tmp_path / "set")


@pytest.mark.parametrize("damage", ["{broken", '{"id": "x"}'])
def test_a_damaged_line_is_named(dataset: Dataset, tmp_path: Path, damage: str) -> None:
    shard = tmp_path / "set" / "shard-001.jsonl"
    lines = shard.read_text().splitlines()
    lines[2] = damage
    shard.write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=r"shard-001\.jsonl:3"):
        Dataset.load(tmp_path / "set")


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"card\.json"):
        Dataset.load(tmp_path)


def test_export_to_an_ase_database(dataset: Dataset, tmp_path: Path) -> None:
    assert export(dataset.entries, tmp_path / "out.db") == 108
    assert export(dataset.entries, tmp_path / "out.db") == 108, "a second export replaces the first"
    with connect(tmp_path / "out.db") as database:
        assert database.count() == 108
        row = database.get(materia_id="e002")
        assert row.gap_pbe == pytest.approx(0.2)
        assert row.level == "standard"
        assert row.fidelity == "PBE"
        np.testing.assert_allclose(row.cell, dataset.entries[2].structure.lattice)
        assert row.data["jobs"] == ["job-e002"]


def test_export_to_extxyz(dataset: Dataset, tmp_path: Path) -> None:
    export(dataset.entries, tmp_path / "out.extxyz")
    frames = read(tmp_path / "out.extxyz", index=":")
    assert len(frames) == 108
    assert frames[1].info["gap_pbe"] == pytest.approx(0.1)
    assert frames[1].info["materia_id"] == "e001"


def test_export_refuses_other_formats_and_nothing(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"\.db"):
        export(dataset.entries, tmp_path / "out.csv")
    with pytest.raises(DatasetError, match="no computed entry"):
        export([entry("x", 5.6, None)], tmp_path / "out.db")
    assert not list(tmp_path.glob("out*"))
