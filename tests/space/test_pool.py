"""The frozen pool on disk."""

import json
import os

import numpy as np
import polars as pl
import pytest

from materia.crystal import structure_hash
from materia.errors import SpaceError, StorageError
from materia.record import Candidate
from materia.space import Pool, SpaceSettings, build_prototype, generate


@pytest.fixture(scope="module")
def pool():
    return generate(SpaceSettings(elements=["Li", "Zn", "Ga", "P", "S", "Cu"], exclude=[]))


def test_round_trip(pool, tmp_path):
    pool.save(tmp_path / "pool")
    again = Pool.load(tmp_path / "pool")
    assert again.hash == pool.hash
    assert again.ids == pool.ids
    assert again.funnel == pool.funnel
    for i in range(len(pool)):
        assert structure_hash(again.crystal(i)) == structure_hash(pool.crystal(i))
        np.testing.assert_array_equal(again.crystal(i).lattice, pool.crystal(i).lattice)
    assert again.candidate(3).origin["charges"] == pool.candidate(3).origin["charges"]
    for name, values in pool.features.items():
        np.testing.assert_allclose(again.features[name], values)
    assert sorted(p.name for p in (tmp_path / "pool").iterdir()) == ["pool.json", "pool.parquet"]


def test_card_says_what_is_in_it(pool, tmp_path):
    pool.save(tmp_path)
    card = json.loads((tmp_path / "pool.json").read_text())
    assert (card["hash"], card["n"]) == (pool.hash, len(pool))
    assert card["settings"]["elements"] == ["Li", "Zn", "Ga", "P", "S", "Cu"]
    assert SpaceSettings(**card["settings"]), "settings can be read back"
    table = pl.read_parquet(tmp_path / "pool.parquet")
    assert table.columns[:3] == ["id", "formula", "prototype"]
    assert table.height == len(pool)


def test_a_changed_row_is_noticed(pool, tmp_path):
    pool.save(tmp_path)
    table = pl.read_parquet(tmp_path / "pool.parquet")
    lattices = table["lattice"].to_list()
    lattices[0][1] += 0.01
    table.with_columns(pl.Series("lattice", lattices)).write_parquet(tmp_path / "pool.parquet")
    with pytest.raises(SpaceError, match="changed since it was frozen"):
        Pool.load(tmp_path)


def test_a_missing_row_is_noticed(pool, tmp_path):
    pool.save(tmp_path)
    pl.read_parquet(tmp_path / "pool.parquet").slice(1).write_parquet(tmp_path / "pool.parquet")
    with pytest.raises(SpaceError, match="changed since it was frozen"):
        Pool.load(tmp_path)


@pytest.mark.parametrize("name", ["pool.json", "pool.parquet"])
def test_damage_is_named(pool, tmp_path, name):
    pool.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpaceError, match="cannot be read"):
        Pool.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(SpaceError) as caught:
        Pool.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_features_by_hand(pool):
    i = pool.index("GaP-zincblende")
    assert pool.features["n_atoms"][i] == 2
    assert pool.features["n_electrons"][i] == 31 + 15
    assert pool.features["n_elements"][i] == 2
    assert pool.features["volume_per_atom"][i] == pytest.approx(5.45**3 / 8, rel=0.08)
    assert pool.compositions[i] == {"Ga": 1, "P": 1}


def test_unknown_id_names_the_nearest(pool):
    with pytest.raises(SpaceError, match="GaP-zincblende"):
        pool.index("GaP-zinkblende")


def test_hash_depends_on_order_and_structure():
    a = Candidate("a", build_prototype("zincblende", ["Ga", "P"]), "zincblende")
    b = Candidate("b", build_prototype("rocksalt", ["Ga", "P"]), "rocksalt")
    strained = Candidate("a", a.crystal.scaled_to_volume(a.crystal.volume * 1.01), "zincblende")
    assert Pool.freeze([a, b]).hash != Pool.freeze([b, a]).hash
    assert Pool.freeze([a, b]).hash != Pool.freeze([strained, b]).hash
    with pytest.raises(SpaceError, match="'a'"):
        Pool.freeze([a, a])
    with pytest.raises(SpaceError):
        Pool.freeze([])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_a_storage_error(pool, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission"):
        pool.save(tmp_path / "pool")


def test_a_file_in_the_way_is_a_storage_error(pool, tmp_path):
    (tmp_path / "pool").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        pool.save(tmp_path / "pool")
