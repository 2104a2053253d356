"""``materia train`` as a user meets it: in its own process, killed for real, and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import materia
from labelled_file import QUANTITY, TINY, compounds, write_labelled
from materia.campaign import make_settings, read_quantities
from materia.crystal import write_structure
from materia.errors import ConfigError, DatasetError, ModelError
from materia.quantities import Kind
from surrogate_factory import rocksalt

TARGET = ("--target", "stiffness=K_GPa", "--quantity", QUANTITY)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "materia.cli", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, check=False)


def until(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.poll()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("data") / "compounds.jsonl")


def test_train_then_predict(data: Path, tmp_path: Path) -> None:
    done = run("train", "--data", data, *TARGET, *TINY, "--epochs", "30", "--out", tmp_path / "m", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["n_train"] == 24 and told["n_quarantined"] == 2
    places = [(q["place"], q["id"]) for q in told["quarantine"]]
    assert places == [("compounds.jsonl:4", "twice"), ("compounds.jsonl:10", "")]
    found = told["targets"]["stiffness"]
    assert found["unit"] == "GPa" and found["n"] == 24
    assert 0 < found["mae"] < 40 and 0.5 < found["coverage_90"] <= 1
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "card.json", "quarantine.jsonl", "train.json", "weights.safetensors",
    ]  # fmt: skip
    write_structure(compounds()[5], tmp_path / "c.cif")
    (row,) = json.loads(run("predict", tmp_path / "c.cif", "--model", tmp_path / "m", "--json").stdout)
    said = row["predictions"]["stiffness"]
    assert said["unit"] == "GPa"
    assert 0 <= said["lower"] < said["mean"] < said["upper"]
    assert said["upper"] == pytest.approx(said["mean"] + 1.6449 * said["std"], rel=1e-4)
    again = run("train", "--resume", "--out", tmp_path / "m", "--json")  # nothing is left to do
    assert json.loads(again.stdout) == told
    table = run("train", "--resume", "--out", tmp_path / "m").stdout
    assert "compounds.jsonl:4" in table and "overlap" in table and "MAE" in table


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_resumed_is_bit_for_bit_the_same(data: Path, tmp_path: Path, devices: int) -> None:
    asked = ("train", "--data", data, *TARGET, *TINY, "--epochs", "40", "--devices", devices, "--seed", "3")
    assert run(*asked, "--out", tmp_path / "whole").returncode == 0
    cut = tmp_path / "cut"
    process = subprocess.Popen(command(*asked, "--out", cut), stderr=subprocess.DEVNULL)
    until(cut / "training/member-0.safetensors", process)
    until(cut / "training/member-1.ckpt", process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while processes_of(cut):  # torchrun and what it started end when they are orphaned
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not (cut / "card.json").exists()
    member = (cut / "training/member-0.safetensors").stat().st_mtime_ns
    resumed = run("train", "--resume", "--out", cut, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert member < (cut / "card.json").stat().st_mtime_ns
    assert (cut / "weights.safetensors").read_bytes() == (tmp_path / "whole/weights.safetensors").read_bytes()
    assert not (cut / "training").exists()


def processes_of(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes():
                found.append(entry.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.slow
def test_going_on_changes_where_and_nothing_else(data: Path, tmp_path: Path) -> None:
    asked = ("train", "--data", data, *TARGET, *TINY, "--epochs", "300", "--out", tmp_path / "m")
    process = subprocess.Popen(command(*asked), stderr=subprocess.DEVNULL)
    until(tmp_path / "m/training/member-0.ckpt", process)
    process.kill()
    process.wait()
    longer = run("train", "--resume", "--out", tmp_path / "m", "--epochs", "301")
    assert longer.returncode == 1 and "cannot change epochs" in longer.stderr
    other = run("train", "--resume", "--out", tmp_path / "m", "--target", "gap_pbe")
    assert other.returncode == 1 and "no data" in other.stderr
    assert run("train", "--resume", "--out", tmp_path / "m", "--threads", "2").returncode == 0
    assert json.loads((tmp_path / "m/card.json").read_text())["settings"]["threads"] == 2


def test_two_at_once_are_refused(data: Path, tmp_path: Path) -> None:
    asked = ("train", "--data", data, *TARGET, *TINY, "--epochs", "100000", "--out", tmp_path / "m")
    process = subprocess.Popen(command(*asked), stderr=subprocess.DEVNULL)
    try:
        until(tmp_path / "m/training/member-0.ckpt", process)
        second = run("train", "--resume", "--out", tmp_path / "m")
        assert second.returncode == 1
        assert "another process trains here" in second.stderr
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_an_extensive_quantity_grows_with_the_cell(tmp_path: Path) -> None:
    crystals = [rocksalt(a, b, 4.2 + 0.1 * i) for i, a in enumerate(("Li", "Na", "K", "Rb")) for b in ("F", "Cl", "Br")]
    rows = [{"structure": c.to_record(), "target": -3.0 * c.n_atoms} for c in crystals]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    settings = make_settings({"channels": 8, "layers": 1, "cutoff": 4.0, "members": 2, "epochs": 3}, None)
    made = materia.train(
        tmp_path / "d.json", ["energy"], tmp_path / "m", quantities=["energy:eV:extensive"], start=None,
        settings=settings,
    )  # fmt: skip
    assert made.to_json()["targets"]["energy"]["unit"] == "eV/atom"
    single = crystals[0].to_ase()
    write_structure(crystals[0], tmp_path / "one.cif")
    (single * (2, 1, 1)).write(tmp_path / "two.cif")
    one, two = (row["predictions"]["energy"] for row in materia.predict(tmp_path / "m", sorted(tmp_path.glob("*.cif"))))
    assert one["unit"] == "eV" and one["mean"] == pytest.approx(-6.0, abs=0.1)
    assert np.array([two["mean"], two["std"]]) == pytest.approx(2 * np.array([one["mean"], one["std"]]), rel=1e-3)


def test_warns_where_the_start_may_have_seen_the_labels(data: Path, tmp_path: Path) -> None:
    tiny = make_settings({"channels": 8, "layers": 1, "cutoff": 4.0, "members": 2, "epochs": 1}, None)
    base = materia.train(data, ["stiffness=K_GPa"], tmp_path / "a", quantities=[QUANTITY], start=None, settings=tiny)
    assert base.warnings == ()
    tuned = materia.train(
        data, ["stiffness=K_GPa"], tmp_path / "b", quantities=[QUANTITY], start=tmp_path / "a", settings=tiny, seed=1
    )
    assert "trained on stiffness too" in tuned.warnings[0]
    assert tuned.card["pretrained_sha256"] == base.card["weights_sha256"]


def test_what_does_not_fit_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'stiffness' is neither a registered(.|\n)*--quantity"):
        materia.train(data, ["stiffness"], tmp_path / "m")
    with pytest.raises(ConfigError, match="gap_pbe is registered as intensive in eV, not as intensive in GPa"):
        materia.train(data, ["gap_pbe=K_GPa"], tmp_path / "m", quantities=["gap_pbe:GPa:intensive"])
    with pytest.raises(DatasetError, match=r"0 labelled structures (.|\n)*24 have no value of K, 2 are quar"):
        materia.train(data, ["stiffness=K"], tmp_path / "m", quantities=[QUANTITY], start=None)
    with pytest.raises(ConfigError, match="no training to go on"):
        materia.train(out=tmp_path / "empty", resume=True)
    with pytest.raises(ConfigError, match=r"setting 'chanels'(.|\n)*did you mean 'channels'"):
        make_settings({"chanels": "8"})
    with pytest.raises(ConfigError, match="x has no unit"):
        materia.train(data, ["x"], tmp_path / "m", quantities=["x"])
    with pytest.raises(ConfigError, match="no model to start from"):
        materia.train(data, ["stiffness=K_GPa"], tmp_path / "m", quantities=[QUANTITY], start=tmp_path)
    process = make_settings({"readout": "gaussian_process"})
    with pytest.raises(ConfigError, match="reads out trained networks, and the start is none"):
        materia.train(data, ["stiffness=K_GPa"], tmp_path / "m", quantities=[QUANTITY], start=None, settings=process)
    tiny = make_settings({"channels": 8, "layers": 1, "cutoff": 4.0, "members": 2, "epochs": 1}, None)
    materia.train(data, ["stiffness=K_GPa"], tmp_path / "m", quantities=[QUANTITY], start=None, settings=tiny)


def test_another_training_in_the_folder_is_kept(data: Path, tmp_path: Path) -> None:
    tiny = make_settings({"channels": 8, "layers": 1, "cutoff": 4.0, "members": 2, "epochs": 1}, None)
    asked = {"quantities": [QUANTITY], "start": None, "settings": tiny}
    materia.train(data, ["stiffness=K_GPa"], tmp_path / "m", **asked)
    before = (tmp_path / "m/weights.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="holds another training: seed differ"):
        materia.train(data, ["stiffness=K_GPa"], tmp_path / "m", seed=7, **asked)
    changed = write_labelled(tmp_path / "changed.jsonl", bad=False)
    with pytest.raises(ConfigError, match="holds another training: data_sha256 differ"):
        materia.train(changed, ["stiffness=K_GPa"], tmp_path / "m", **asked)
    assert (tmp_path / "m/weights.safetensors").read_bytes() == before


def test_declarations_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(
        "shear_modulus: {unit: GPa, kind: intensive, lower: 0, title: Shear modulus}\n"
        "moment: {unit: µB, kind: extensive}\n"
    )
    shear, moment = read_quantities(path)
    assert (shear.lower, shear.title, moment.kind) == (0, "Shear modulus", Kind.EXTENSIVE)
    path.write_text("shear_modulus: {units: GPa}\n")
    with pytest.raises(ConfigError, match="declares no quantities"):
        read_quantities(path)


def test_cuda_without_a_gpu_is_said(data: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run("train", "--data", data, *TARGET, *TINY, "--device", "cuda", "--out", tmp_path / "m")
    assert done.returncode == 1 and "no CUDA GPU" in done.stderr


def test_predict_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trained model"):
        materia.predict(tmp_path, [])
