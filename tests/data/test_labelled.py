"""Labelled structures from the files people have; what is bad is set aside by name."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from pymatgen.core import Structure

from materia.crystal import Crystal
from materia.data import Dataset, LabelledRows, read_labelled, read_unlabelled, source_digest
from materia.errors import DatasetError
from materia.resources import resource

K = {"bulk_modulus": "K_GPa"}
CRYSTALS = [
    Crystal.from_ase(bulk("NaCl", "rocksalt", a=5.64)),
    Crystal.from_ase(bulk("GaAs", "zincblende", a=5.65)),
    Crystal.from_ase(bulk("Si", "diamond", a=5.43)),
]
VALUES = [24.0, 75.0, 98.0]


def record(i: int, **changes: Any) -> dict[str, Any]:
    row = {"id": f"mp-{i}", "structure": CRYSTALS[i].to_record(), "targets": {"K_GPa": VALUES[i], "other": [1, 2]}}
    return {**row, **changes}


def overlapping() -> dict[str, Any]:
    return {"lattice": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "species": ["Na", "Cl"], "frac_coords": [[0, 0, 0]] * 2}


def pymatgen(i: int) -> dict[str, Any]:
    c = CRYSTALS[i]
    return Structure(c.lattice, c.symbols, c.frac_coords).as_dict()


def check(found: LabelledRows) -> None:
    assert [row.crystal.formula for row in found.rows] == ["NaCl", "GaAs", "Si"]
    assert [row.values for row in found.rows] == [{"bulk_modulus": v} for v in VALUES]
    assert [row.crystal.volume for row in found.rows] == pytest.approx([c.volume for c in CRYSTALS], rel=1e-6)


def json_lines(folder: Path) -> Path:
    path = folder / "d.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(record(i)) for i in range(3)).encode()))
    return path


def pymatgen_list(folder: Path) -> Path:
    path = folder / "d.json"
    path.write_text(json.dumps([{"structure": pymatgen(i), "target": VALUES[i]} for i in range(3)]))
    return path


def matbench(folder: Path) -> Path:
    path = folder / "matbench_x.json.bz2"
    table = {"index": [0, 1, 2], "columns": ["structure", "K_GPa"]}
    table["data"] = [[pymatgen(i), VALUES[i]] for i in range(3)]
    path.write_bytes(bz2.compress(json.dumps(table).encode()))
    return path


def extended_xyz(folder: Path) -> Path:
    path = folder / "d.extxyz"
    frames = [c.to_ase() for c in CRYSTALS]
    for atoms, value in zip(frames, VALUES, strict=True):
        atoms.info["K_GPa"] = value
    write(path, frames)
    return path


def ase_database(folder: Path) -> Path:
    path = folder / "d.db"
    with connect(path) as database:
        for crystal, value in zip(CRYSTALS, VALUES, strict=True):
            database.write(crystal.to_ase(), K_GPa=value)
    return path


def cif_folder(folder: Path) -> Path:
    for i, crystal in enumerate(CRYSTALS):
        write(folder / f"c{i}.cif", crystal.to_ase())
    rows = "\n".join(f"c{i},{v}" for i, v in enumerate(VALUES))
    (folder / "labels.csv").write_text(f"id,K_GPa\n{rows}\n")
    return folder


def cgcnn_folder(folder: Path) -> Path:
    table = cif_folder(folder) / "labels.csv"
    (folder / "id_prop.csv").write_text(table.read_text().split("\n", 1)[1])
    table.unlink()
    return folder


@pytest.mark.parametrize(
    "write_form", [json_lines, pymatgen_list, matbench, extended_xyz, ase_database, cif_folder, cgcnn_folder]
)
def test_every_form_gives_the_same_rows(write_form: Callable[[Path], Path], tmp_path: Path) -> None:
    found = read_labelled(write_form(tmp_path), K)
    check(found)
    assert found.quarantine == () and found.unlabelled == 0


def test_the_project_s_own_dataset() -> None:
    found = read_labelled(resource("data/dataset"), {"gap_pbe": "gap_pbe"})
    entries = len(Dataset.load(resource("data/dataset")).computed)
    assert len(found.rows) + found.unlabelled == entries > 100
    assert all(row.values["gap_pbe"] >= 0 for row in found.rows)


def test_bad_rows_are_set_aside_by_line_and_the_rest_is_used(tmp_path: Path) -> None:
    lines = [
        json.dumps(record(0)),
        "{half a li",
        json.dumps(record(1, id="overlap", structure=overlapping())),
        json.dumps(record(1, structure={**CRYSTALS[1].to_record(), "species": ["Ga", "Xx"]})),
        json.dumps(record(1, targets={"K_GPa": float("nan")})),
        json.dumps(record(1, targets={"K_GPa": "soft"})),
        json.dumps(record(1, targets={"K_GPa": [[1.0, 2.0]]})),
        json.dumps(record(1, targets={"K_GPa": None})),
        json.dumps(record(1, targets={})),
        json.dumps([1, 2]),
        json.dumps(record(1)),
        json.dumps(record(2)),
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(lines) + "\n")
    found = read_labelled(path, K)
    check(found)
    assert found.unlabelled == 2
    reasons = {q.place: q.reason for q in found.quarantine}
    assert list(reasons) == [f"d.jsonl:{n}" for n in (2, 3, 4, 5, 6, 7, 10)]
    assert "not JSON" in reasons["d.jsonl:2"]
    assert "overlap" in reasons["d.jsonl:3"] and found.quarantine[1].id == "overlap"
    assert "'Xx'" in reasons["d.jsonl:4"]
    assert reasons["d.jsonl:5"] == "K_GPa is nan, not a finite number"
    assert reasons["d.jsonl:6"] == "K_GPa is 'soft', not a number"


def test_truncated_archive_keeps_what_came_before(tmp_path: Path) -> None:
    path = json_lines(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 12])
    found = read_labelled(path, K)
    assert len(found.rows) >= 1
    assert found.quarantine and "damaged" in found.quarantine[-1].reason


def test_damaged_frames_of_extended_xyz(tmp_path: Path) -> None:
    path = extended_xyz(tmp_path)
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("Na", "Zz").replace("Cl", "Zz")  # frame 1: no element
    del lines[6]  # frame 2 lacks an atom
    path.write_text("\n".join(["garbage", *lines]) + "\n")
    found = read_labelled(path, K)
    assert [row.crystal.formula for row in found.rows] == ["Si"]
    assert [q.place for q in found.quarantine] == ["d.extxyz:1", "d.extxyz:2", "d.extxyz:6"]


def test_a_damaged_row_of_a_database(tmp_path: Path) -> None:
    import sqlite3

    path = ase_database(tmp_path)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE systems SET positions = x'00' WHERE id = 2")
    found = read_labelled(path, K)
    assert [row.crystal.formula for row in found.rows] == ["NaCl", "Si"]
    assert [q.place for q in found.quarantine] == ["d.db:2"]


def test_missing_cif_and_short_row_of_a_table(tmp_path: Path) -> None:
    folder = cif_folder(tmp_path)
    with (folder / "labels.csv").open("a") as stream:
        stream.write("c9,1.0\nc0\nc1,\nc2,nan\n")
    found = read_labelled(folder / "labels.csv", K)
    check(found)
    assert found.unlabelled == 1
    assert [q.place for q in found.quarantine] == ["labels.csv:5", "labels.csv:6", "labels.csv:8"]


def test_errors_name_file_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        read_labelled(tmp_path / "none.jsonl", K)
    (tmp_path / "d.hdf5").write_text("")
    with pytest.raises(DatasetError, match=r"not read from 'd\.hdf5'"):
        read_labelled(tmp_path / "d.hdf5", K)
    folder = cif_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"no column 'G_GPa'(.|\n)*its columns are: id, K_GPa"):
        read_labelled(folder, {"shear_modulus": "G_GPa"})
    (tmp_path / "m.json").write_text(json.dumps({"index": [0], "columns": ["composition", "y"], "data": [["Na", 1]]}))
    with pytest.raises(DatasetError, match="no column of structures, but: composition, y"):
        read_labelled(tmp_path / "m.json", K)
    (tmp_path / "none.db").write_text("nothing")
    with pytest.raises(DatasetError, match="no ASE database"):
        read_labelled(tmp_path / "none.db", K)


def test_structures_without_labels(tmp_path: Path) -> None:
    assert len(read_unlabelled(json_lines(tmp_path)).rows) == 3
    cif_folder(tmp_path)
    (row,) = read_unlabelled(tmp_path / "c1.cif").rows
    assert (row.place, row.crystal.formula) == ("c1.cif", "GaAs")
    (tmp_path / "bad.cif").write_text("nothing")
    (bad,) = read_unlabelled(tmp_path / "bad.cif").quarantine
    assert bad.place == "bad.cif"


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    folder = cif_folder(tmp_path)
    before = source_digest(folder)
    assert source_digest(folder) == before
    (folder / "c0.cif").write_text((folder / "c0.cif").read_text() + "\n")
    assert source_digest(folder) != before
