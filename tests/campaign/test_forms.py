"""One model of quantities of every form, from a file to ``train``, ``predict`` and ``screen``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import materia
from form_examples import ALL, EPSILON, HARDNESS, MOBILE, POLAR, SIZE, examples
from labelled_file import TINY
from materia.campaign import read_quantities
from materia.crystal import write_structure
from materia.surrogate import read_card

DECLARED = ("size:Å3:extensive:0", "hardness:GPa:log", "mobile:m2:extensive:log", "polar:1:class", "epsilon:1:tensor")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "materia.cli", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 compounds, the labels of the last three replaced by what cannot be."""
    rows = [
        {"id": f"c{i}", "structure": e.crystal.to_record(), "targets": dict(e.targets)}
        for i, e in enumerate(examples())
    ]
    rows[-3]["targets"] = {"epsilon": [[1, 2, 0], [0, 1, 0], [0, 0, 1]]}
    rows[-2]["targets"] = {"hardness": -5}
    rows[-1]["targets"] = {"polar": "perhaps"}
    little = np.array(rows[9]["targets"]["epsilon"])  # type: ignore[index]
    little[0, 1] = little[1, 0] = 0.01 * little[0, 0]
    rows[9]["targets"] = {"epsilon": little.tolist()}
    path = tmp_path_factory.mktemp("data") / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("model") / "m"
    asked = [part for q, text in zip(ALL, DECLARED, strict=True) for part in ("--target", q.name, "--quantity", text)]
    return folder, run("train", "--data", data, *asked, *TINY, "--epochs", "8", "--out", folder, "--json")


def test_train(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = trained
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["n_quarantined"] == 3 and told["n_symmetrised"] == 1
    reasons = [row["reason"] for row in told["quarantine"]]
    assert "not symmetric" in reasons[0] and "not positive" in reasons[1] and "'perhaps'" in reasons[2]
    forms = {name: said.get("form", "scalar") for name, said in told["targets"].items()}
    assert forms == {q.name: q.form for q in ALL}
    assert told["targets"]["mobile"]["unit"] == "m2/atom"
    assert {"mae_log10", "frobenius", "frobenius_median", "coverage_90"} < told["targets"]["epsilon"].keys()
    assert {"balanced_accuracy", "ece", "brier"} < told["targets"]["polar"].keys()
    assert read_card(folder)["n_symmetrised"] == 1
    table = run("train", "--resume", "--out", folder).stdout
    assert "balanced accuracy" in table and "MAE of log10" in table


def test_predict(trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    crystal = examples()[3].crystal
    write_structure(crystal, tmp_path / "one.json")
    (crystal.to_ase() * (1, 1, 2)).write(tmp_path / "two.extxyz")
    one, two = (row["predictions"] for row in materia.predict(trained[0], sorted(tmp_path.iterdir())))
    assert {name: said["form"] for name, said in one.items()} == {q.name: q.form for q in ALL}
    assert one[POLAR.name].keys() == {"probability", "unit", "form"} and 0 < one[POLAR.name]["probability"] < 1
    hardness = one[HARDNESS.name]
    assert 0 < hardness["lower"] < hardness["mean"] < hardness["upper"]
    assert hardness["upper"] / hardness["mean"] == pytest.approx(hardness["mean"] / hardness["lower"])
    epsilon = one[EPSILON.name]
    tensor = np.array(epsilon["tensor"])
    assert np.linalg.eigvalsh(tensor).tolist() == pytest.approx(epsilon["eigenvalues"])
    assert epsilon["lower"] < epsilon["mean"] == pytest.approx(np.trace(tensor) / 3)
    for q, factor in ((SIZE, 2), (HARDNESS, 1), (MOBILE, 2), (EPSILON, 1)):
        for end in ("mean", "lower", "upper", "std"):
            assert two[q.name][end] == pytest.approx(factor * one[q.name][end], rel=1e-3), (q.name, end)
    shown = run("predict", tmp_path / "one.json", "--model", trained[0]).stdout.replace("\n", " ")
    assert "%" in shown and "eigenvalues" in shown
    assert all(q.name in shown for q in ALL)  # five do not fit beside each other


def test_screen(trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    for i, e in enumerate(examples()[:5]):
        write_structure(e.crystal, tmp_path / f"c{i}.json")
    made = materia.screen(sorted(tmp_path.glob("*.json")), trained[0], tmp_path / "o.parquet", chunk=2)
    table = pl.read_parquet(made.file)
    ends = ("mean", "lower", "upper")
    voigt = ("xx", "yy", "zz", "yz", "xz", "xy")
    assert table.columns == [
        "id", "formula", *(f"{name}_{end}" for name in ("size", "hardness", "mobile") for end in ends),
        "polar_probability", *(f"epsilon_{end}" for end in (*ends, *voigt)), "remoteness", "out_of_domain",
    ]  # fmt: skip
    (row,) = materia.predict(trained[0], [tmp_path / "c0.json"])
    first, said = table.row(0, named=True), row["predictions"]
    assert first["polar_probability"] == pytest.approx(said["polar"]["probability"], rel=1e-4)
    for name, (i, j) in zip(voigt, ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)), strict=True):
        assert first[f"epsilon_{name}"] == pytest.approx(said["epsilon"]["tensor"][i][j], abs=1e-4)
    assert made.card["quantities"]["epsilon"] == {"unit": "1", "title": "epsilon", "form": "tensor"}


def test_a_registered_tensor_needs_no_declaration(data: Path, tmp_path: Path) -> None:
    from materia.campaign import make_settings

    settings = make_settings({"channels": 8, "layers": 1, "cutoff": 4.0, "members": 2, "epochs": 1}, None)
    made = materia.train(data, ["dielectric_electronic=epsilon"], tmp_path / "m", start=None, settings=settings)
    assert made.to_json()["targets"]["dielectric_electronic"]["form"] == "tensor"
    again = materia.train(data, ["dielectric_electronic=epsilon"], tmp_path / "m", start=None, settings=settings)
    assert again.card == made.card


def test_forms_in_a_file_of_declarations(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_text("hardness: {unit: GPa, form: log}\nepsilon: {unit: '1', form: tensor}\n")
    assert tuple(read_quantities(path)) == (HARDNESS, EPSILON)
