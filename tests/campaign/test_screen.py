"""``materia screen``: the same result however it is cut, killed or spread over a cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import materia
from labelled_file import QUANTITY, compounds, write_labelled
from materia.campaign import make_settings
from materia.campaign._shards import Plan, cut, merge, missing_shards, predict_shard, shard_files
from materia.compute import Site
from materia.crystal import write_structure
from materia.errors import ConfigError, DatasetError
from materia.record import Candidate, Resources
from materia.space import Pool
from surrogate_factory import rocksalt, zincblende


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    data = write_labelled(folder / "d.jsonl")
    settings = make_settings({"channels": 8, "layers": 1, "cutoff": 4.0, "members": 2, "epochs": 3}, None)
    materia.train(
        data, ["s=K_GPa"], folder / "m", quantities=[QUANTITY.replace("stiffness", "s")], start=None, settings=settings
    )
    return folder / "m"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """47 candidates, one of them with atoms on top of each other."""
    crystals = [
        build(a, b, 4.3 + 0.07 * i + 0.1 * j)
        for i, a in enumerate(("Li", "Na", "K", "Mg", "Ca", "Sr"))
        for j, b in enumerate(("O", "S", "F", "Cl"))
        for build in (rocksalt, zincblende)
    ][:47]
    candidates = [Candidate(f"{k:02d}-{c.formula}", c, "x") for k, c in enumerate(crystals)]
    folder = tmp_path_factory.mktemp("pool")
    Pool.freeze(candidates).save(folder)
    table = pl.read_parquet(folder / "pool.parquet")
    coords = table["frac_coords"].to_list()
    coords[20] = [0.0] * 6
    table.with_columns(frac_coords=pl.Series(coords)).write_parquet(folder / "pool.parquet")
    return folder


@pytest.fixture(scope="module")
def whole(model: Path, pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool predicted in one go."""
    out = tmp_path_factory.mktemp("whole") / "whole.parquet"
    materia.screen([pool], model, out, chunk=8, shards=1)
    return out


def test_what_is_in_the_result(whole: Path, pool: Path, model: Path) -> None:
    table = pl.read_parquet(whole)
    assert table.columns == ["id", "formula", "s_mean", "s_lower", "s_upper", "remoteness", "out_of_domain"]
    candidates = Pool.load  # the pool was damaged on purpose, so it does not load
    with pytest.raises(Exception, match="has changed"):
        candidates(pool)
    ids = pl.read_parquet(pool / "pool.parquet")["id"].to_list()
    assert table["id"].to_list() == [name for k, name in enumerate(ids) if k != 20]
    assert (table["s_lower"] >= 0).all()
    assert ((table["s_lower"] <= table["s_mean"]) & (table["s_mean"] < table["s_upper"])).all()
    assert table["out_of_domain"].to_list()[-1] is True  # Sr was not among the elements it learned from
    card = json.loads(Path(f"{whole}.json").read_text())
    assert (card["n"], card["n_quarantined"], card["quantities"]["s"]["unit"]) == (46, 1, "GPa")
    (bad,) = (json.loads(line) for line in Path(f"{whole}.quarantine.jsonl").read_text().splitlines())
    assert bad["id"] == ids[20] and "overlap" in bad["reason"]
    assert not Path(f"{whole}.work").exists()


def test_agrees_with_predict(whole: Path, model: Path, tmp_path: Path) -> None:
    crystal = rocksalt("Li", "O", 4.3)
    write_structure(crystal, tmp_path / "c.json")
    (row,) = materia.predict(model, [tmp_path / "c.json"])
    first = pl.read_parquet(whole).row(0, named=True)
    assert [first[f"s_{k}"] for k in ("mean", "lower", "upper")] == pytest.approx(
        [row["predictions"]["s"][k] for k in ("mean", "lower", "upper")], rel=1e-5
    )


def test_shards_change_nothing(whole: Path, pool: Path, model: Path, tmp_path: Path) -> None:
    materia.screen([pool], model, tmp_path / "o.parquet", chunk=8, shards=4)
    assert pl.read_parquet(tmp_path / "o.parquet").equals(pl.read_parquet(whole))  # to the last bit


def test_killed_and_resumed(whole: Path, pool: Path, model: Path, tmp_path: Path) -> None:
    """SIGKILL after the second shard: the shards that were there are not computed again."""
    out = tmp_path / "o.parquet"
    script = (
        "import materia, os, signal, sys\n"
        "def report(done, n):\n    if done > 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "materia.screen([sys.argv[1]], sys.argv[2], sys.argv[3], chunk=8, shards=6, report=report)"
    )
    cut_off = subprocess.run([sys.executable, "-c", script, pool, model, out], timeout=120, check=False)
    assert cut_off.returncode == -signal.SIGKILL and not out.exists()
    shards = Path(f"{out}.work") / "shards"
    before = {p.name: p.stat().st_mtime_ns for p in shards.glob("*.json")}
    assert len(before) == 2
    seen: list[int] = []
    materia.screen([pool], model, out, report=lambda done, n: seen.append(done))
    assert min(seen) > 16  # went on after the first two
    assert pl.read_parquet(out).equals(pl.read_parquet(whole))


def test_merge_refuses_missing_and_damaged_shards(pool: Path, model: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "w", tmp_path / "o.parquet"
    work.mkdir()
    from materia.campaign._screen import _plan, _sources_digest
    from materia.surrogate import read_card

    weights = read_card(model)["weights_sha256"]
    plan = _plan([pool], model, weights, _sources_digest([pool]), work, 3, 8, False)
    for k in (0, 1):
        predict_shard(work, k)
    with pytest.raises(DatasetError, match=r"1 of 3 shards are missing: shard 2: timeout"):
        merge(work, out, {2: "timeout"})
    predict_shard(work, 2)
    table, _ = shard_files(work, 1)
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="shard 1"):
        merge(work, out)
    assert missing_shards(work, plan) == [1] and not out.exists()
    assert Plan.read(work) == plan


def test_structure_files_and_bad_ones(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for k, crystal in enumerate(compounds()[:5]):
        write_structure(crystal, folder / f"c{k}.cif")
    (folder / "broken.cif").write_text("nothing")
    write_labelled(tmp_path / "more.jsonl")
    heavy = rocksalt("Lr", "O", 5.0)
    write_structure(heavy, folder / "heavy.cif")
    made = materia.screen([folder, tmp_path / "more.jsonl"], model, tmp_path / "o.parquet", chunk=8)
    assert made.card["n"] == 5 + 24 and made.card["n_quarantined"] == 1 + 2 + 1
    reasons = {q["id"] or q["place"]: q["reason"] for q in made.quarantine}
    assert "element 103 is beyond" in reasons["heavy.cif"]
    assert {"broken.cif", "twice", "more.jsonl:10"} < reasons.keys()


def test_what_does_not_fit_is_said(model: Path, pool: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a Parquet file"):
        materia.screen([pool], model, tmp_path / "o.csv")
    with pytest.raises(ConfigError, match="exists and is something else"):
        materia.screen([model.parent / "d.jsonl"], model, whole)
    assert materia.screen([pool], model, whole).card["n"] == 46  # done already
    with pytest.raises(DatasetError, match="cannot be read"):
        materia.screen([tmp_path / "none"], model, tmp_path / "o.parquet")


def test_cut_makes_whole_chunks() -> None:
    assert cut(47, 8, 1) == (0, 47)
    assert cut(47, 8, 4) == (0, 8, 24, 32, 47)
    assert cut(5, 8, 4) == (0, 5)
    assert cut(47, 8, 100) == (0, 8, 16, 24, 32, 40, 47)


def test_command(pool: Path, model: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "materia.cli", "screen", pool, "--model", model, "--out", tmp_path / "o.parquet"]
    done = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 46
    again = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert "46 structures predicted" in again.stdout and "overlap" in again.stdout


@pytest.mark.slurm
def test_on_a_site_killed_and_resumed(slurm_site: Site, whole: Path, pool: Path, model: Path, tmp_path: Path) -> None:
    """One array; the driver is killed while it runs, the next finds it, and the result is that of one process."""
    out = tmp_path / "o.parquet"
    argv = [sys.executable, "-m", "materia.cli", "screen", pool, "--model", model, "--out", out, "--batch", "8"]
    argv += ["--shards", "4", "--site", "dev", "--memory-mb", "1500", "--walltime-s", "600", "--device", "cpu"]
    driver = subprocess.Popen(argv)
    work = Path(f"{out}.work")
    deadline = time.monotonic() + 120
    while not list(work.glob("jobs/*/1/claim.json")):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    tokens = {p.name for p in (work / "tasks").iterdir()}
    assert len(tokens) == 1
    done = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(out).equals(pl.read_parquet(whole))
    text = subprocess.run(
        ["sacct", "-n", "-X", "-P", "-S", "now-1hour", f"--name={','.join(tokens)}", "-o", "State"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert text.split() == ["COMPLETED"] * 4  # one array of four, nothing twice


@pytest.mark.slurm
def test_a_shard_that_fails_on_the_site_is_tried_again(
    slurm_site: Site, pool: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.parquet"
    asked = {"chunk": 8, "shards": 2, "site": "dev", "device": "cpu"}
    weights = model / "weights.safetensors"
    aside = model / "aside"

    def hide(done: int, n: int) -> None:
        if weights.exists():
            weights.rename(aside)

    try:
        with pytest.raises(DatasetError, match="2 of 2 shards are missing: shard 0: ModelError: the weights cannot"):
            materia.screen([pool], model, out, resources=Resources(1, 1500, 600), report=hide, **asked)
    finally:
        aside.rename(weights)
    made = materia.screen([pool], model, out, resources=Resources(1, 1500, 600), **asked)
    assert made.card["n"] == 46 and out.exists()
