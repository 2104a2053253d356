"""What lies beside a dataset's shards: splits that keep groups together, Croissant metadata, a figure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from materia.crystal import Crystal
from materia.data import Dataset, Entry
from materia.record import Label
from materia.resources import resource

FORMULAS = (("Na", "Cl"), ("K", "Br"), ("Mg", "O"), ("Ca", "S"), ("Zn", "Se"), ("Al", "P"), ("Li", "F"))


def entry(number: int) -> Entry:
    fcc = [[0.0, 2.8, 2.8], [2.8, 0.0, 2.8], [2.8, 2.8, 0.0]]
    pair = FORMULAS[number % len(FORMULAS)]
    shift = (0.5, 0.25, 0.3)[number % 3]
    crystal = Crystal.from_species(fcc, pair, [[0, 0, 0], [shift] * 3])
    failed = number % 10 == 9
    labels = () if failed else (Label("gap_pbe", 0.1 * number, "PBE", "standard", "abc", f"job-{number}"),)
    prototype = ("rocksalt", "zincblende", "other")[number % 3]
    status, reason = ("failed", "not_converged") if failed else ("computed", "")
    return Entry(f"e{number:03d}", prototype, status, reason, crystal, crystal, labels, ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    card = {"name": "test", "licence": "CC-BY-4.0", "title": "A test"}
    Dataset(tuple(entry(k) for k in range(70)), card).save(tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.parametrize("kind", ["formula", "prototype"])
def test_no_group_is_in_two_folds(folder: Path, kind: str) -> None:
    found = json.loads((folder / "splits.json").read_text())[kind]
    computed = Dataset.load(folder).computed
    assert sorted(found) == sorted(e.id for e in computed)  # each once, failures not at all
    folds_of: dict[str, set[int]] = {}
    for e in computed:
        folds_of.setdefault(getattr(e, kind), set()).add(found[e.id])
    assert all(len(folds) == 1 for folds in folds_of.values())
    assert set(found.values()) == set(range(min(5, len(folds_of))))


def test_folds_are_about_alike_and_depend_on_no_value(folder: Path, tmp_path: Path) -> None:
    found = json.loads((folder / "splits.json").read_text())
    sizes = Counter(found["formula"].values())
    assert max(sizes.values()) <= 2 * min(sizes.values())  # seven formulas of nine entries in five folds
    turned = [
        Entry(
            e.id,
            e.prototype,
            e.status,
            e.reason,
            e.initial,
            e.structure,
            tuple(Label(m.quantity, 9.0 - m.value, m.fidelity, m.level, m.level_hash, m.source) for m in e.labels),
            (),
        )
        for e in Dataset.load(folder)
    ]
    Dataset(tuple(turned), {"name": "turned"}).save(tmp_path / "turned")
    assert json.loads((tmp_path / "turned" / "splits.json").read_text()) == found


def test_croissant_names_every_file_with_its_digest_and_every_field(folder: Path) -> None:
    found = json.loads((folder / "croissant.json").read_text())
    shards = sorted(folder.glob("shard-*.jsonl"))
    assert len(shards) == 2
    named = {f["contentUrl"]: f["sha256"] for f in found["distribution"]}
    assert named == {s.name: hashlib.sha256(s.read_bytes()).hexdigest() for s in shards}
    assert found["license"] == "https://creativecommons.org/licenses/by/4.0/"
    for shard, records in zip(shards, found["recordSet"], strict=True):
        columns = {f["source"]["extract"]["column"] for f in records["field"]}
        assert columns == set(json.loads(shard.read_text().splitlines()[0]))
        assert {f["source"]["fileObject"]["@id"] for f in records["field"]} == {shard.name}


def test_the_figure_is_a_picture_and_the_page_shows_it(folder: Path) -> None:
    with Image.open(folder / "overview.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 500
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20  # not blank
    assert "(overview.png)" in (folder / "README.md").read_text()


def test_a_dataset_without_gaps_or_entries_can_be_saved(tmp_path: Path) -> None:
    Dataset((), {"name": "nothing"}).save(tmp_path / "none")
    assert Dataset.load(tmp_path / "none").card["materials"] == 0
    assert json.loads((tmp_path / "none" / "splits.json").read_text()) == {"formula": {}, "prototype": {}}


def test_what_ships_is_what_would_be_written(tmp_path: Path) -> None:
    """The files beside the shipped shards were not left behind by an older version."""
    shipped = Path(resource("data/dataset"))
    Dataset.load(shipped).save(tmp_path / "again")
    for name in ("card.json", "splits.json", "croissant.json", "README.md"):
        assert (tmp_path / "again" / name).read_text() == (shipped / name).read_text(), name
