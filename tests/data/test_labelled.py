"""Labelled structures from the files people have; what is bad is set aside by name."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from pymatgen.core import Structure

from materia.crystal import Crystal
from materia.data import Dataset, LabelledRows, read_labelled, read_unlabelled, source_digest
from materia.errors import DatasetError
from materia.quantities import Form
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


EPSILON = {"epsilon": "eps"}
TENSOR = {"epsilon": Form.TENSOR}
TILTED = [[3.0, 0.5, 0.1], [0.5, 4.0, -0.2], [0.1, -0.2, 7.0]]
LOW = Crystal.from_species(  # no symmetry
    [[4.1, 0.2, -0.3], [0.7, 5.2, 0.4], [-0.5, 0.9, 6.3]],
    ["Ga", "As", "O"],
    [[0, 0, 0], [0.5, 0.43, 0.2], [0.1, 0.6, 0.7]],
)


def rows_of(folder: Path, given: list[Any], crystal: Crystal = LOW, name: str = "eps") -> Path:
    path = folder / "t.jsonl"
    rows = [{"id": f"r{i}", "structure": crystal.to_record(), "targets": {name: v}} for i, v in enumerate(given)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_tensors_in_every_notation(tmp_path: Path) -> None:
    nine = [x for row in TILTED for x in row]
    voigt = [3.0, 4.0, 7.0, -0.2, 0.1, 0.5]
    given = [TILTED, nine, voigt, "3 4 7 -0.2 0.1 0.5", "3;4;7;-0.2;0.1;0.5", json.dumps(TILTED), None, ""]
    found = read_labelled(rows_of(tmp_path, given), EPSILON, TENSOR)
    assert [row.values["epsilon"] for row in found.rows] == [tuple(map(tuple, TILTED))] * 6
    assert (found.unlabelled, found.quarantine, found.symmetrised) == (2, (), 0)


def test_tensors_in_extended_xyz_and_csv(tmp_path: Path) -> None:
    atoms = LOW.to_ase()
    atoms.info["eps"] = np.array(TILTED)
    write(tmp_path / "t.extxyz", [atoms])
    (row,) = read_labelled(tmp_path / "t.extxyz", EPSILON, TENSOR).rows
    assert np.array(row.values["epsilon"]) == pytest.approx(np.array(TILTED))
    write(tmp_path / "c.cif", LOW.to_ase())
    (tmp_path / "t.csv").write_text("id,eps\nc,3 4 7 -0.2 0.1 0.5\n")
    (row,) = read_labelled(tmp_path / "t.csv", EPSILON, TENSOR).rows
    assert row.values["epsilon"] == tuple(map(tuple, TILTED))


def test_what_is_no_dielectric_tensor_is_set_aside(tmp_path: Path) -> None:
    skew = [[3.0, 2.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]
    given = [skew, [[1, 0, 0], [0, -1, 0], [0, 0, 2]], [1, 2, 3], "a b c d e f", [[float("nan")] * 3] * 3, 4.0, TILTED]
    found = read_labelled(rows_of(tmp_path, given), EPSILON, TENSOR)
    assert len(found.rows) == 1
    reasons = [q.reason for q in found.quarantine]
    assert reasons[0] == "eps is not symmetric: it differs from its transpose by 51 %"  # sqrt(8) over sqrt(31)
    assert reasons[1] == "eps is not positive definite: its least eigenvalue is -1"
    assert "shape (3,)" in reasons[2] and "not a tensor of numbers" in reasons[3]
    assert "not a finite number" in reasons[4] and "shape ()" in reasons[5]


def test_a_tensor_must_have_its_crystal_s_symmetry(tmp_path: Path) -> None:
    """Rock salt is cubic: its tensor is a number. Off by a little it is set right, by much it is set aside."""
    noise, little, much = (np.diag([3.0, 3.0, 3.0 + x]).tolist() for x in (0.001, 0.1, 2.0))
    found = read_labelled(rows_of(tmp_path, [noise, little, much], CRYSTALS[0]), EPSILON, TENSOR)
    first, second = (np.array(row.values["epsilon"]) for row in found.rows)
    assert np.array_equal(first, np.array(noise)) and found.symmetrised == 1
    assert second == pytest.approx(np.eye(3) * (9.1 / 3))
    (bad,) = found.quarantine
    assert bad.id == "r2" and "contradicts the symmetry of its crystal by 25 %" in bad.reason  # sqrt(8/3) of sqrt(43)


def test_a_tensor_in_another_frame_is_noticed(tmp_path: Path) -> None:
    """The same tetragonal tensor, its axis along z where the crystal's is along x."""
    stretched = Crystal(CRYSTALS[0].lattice * np.array([1.2, 1, 1]), CRYSTALS[0].numbers, CRYSTALS[0].frac_coords)
    along_x, along_z = np.diag([5.0, 3.0, 3.0]).tolist(), np.diag([3.0, 3.0, 5.0]).tolist()
    found = read_labelled(rows_of(tmp_path, [along_x, along_z], stretched), EPSILON, TENSOR)
    assert [row.id for row in found.rows] == ["r0"] and [q.id for q in found.quarantine] == ["r1"]


def test_answers_and_logarithms(tmp_path: Path) -> None:
    answers = read_labelled(
        rows_of(tmp_path, [True, False, 1, 0, "true", "FALSE", "1", 1.0, 0.4, "yes", None], name="m"),
        {"is_metal": "m"},
        {"is_metal": Form.CLASS},
    )
    assert [row.values["is_metal"] for row in answers.rows] == [1, 0, 1, 0, 1, 0, 1, 1]
    assert [q.reason for q in answers.quarantine] == [f"m is '{x}', not 0, 1, true or false" for x in ("0.4", "yes")]
    masses = read_labelled(rows_of(tmp_path, [0.3, 0.0, -1.0], name="m"), {"mass": "m"}, {"mass": Form.LOG})
    assert [row.values["mass"] for row in masses.rows] == [0.3]
    assert all("not positive" in q.reason for q in masses.quarantine)
