"""What can go wrong before and around a campaign: clear words, and nothing touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from materia.campaign import step
from materia.errors import (
    CampaignError,
    CampaignLockedError,
    EngineError,
    MateriaError,
    SpaceError,
    StorageError,
    StructureError,
)
from materia.simulation import engine
from tiny_campaign import tiny

OVERLAP = """data_bad
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Si1 Si 0.0 0.0 0.0
Si2 Si 0.1 0.0 0.0
"""


def refused(tmp_path: Path, kind: type[MateriaError], words: str, **changes: Any) -> MateriaError:
    """A campaign that cannot start raises, and its folder is not made."""
    campaign = tiny(tmp_path / "campaign", **changes)
    with pytest.raises(kind, match=words) as caught:
        step(campaign.folder, campaign.file)
    assert not campaign.folder.exists(), "the folder was touched"
    return caught.value


def test_a_cif_with_overlapping_atoms(tmp_path: Path) -> None:
    file = tmp_path / "bad.cif"
    file.write_text(OVERLAP)
    error = refused(tmp_path, StructureError, "overlap", space={"files": [str(file)], "prototypes": []})
    assert "bad.cif" in str(error)
    assert "0.40 Å" in str(error)


def test_a_missing_structure_file(tmp_path: Path) -> None:
    refused(tmp_path, StructureError, r"none\.cif", space={"files": [str(tmp_path / "none.cif")], "prototypes": []})


def test_an_empty_pool_names_the_filter(tmp_path: Path) -> None:
    space = {"elements": ["Na", "K"], "prototypes": ["rocksalt"], "arity": [2]}
    refused(tmp_path, SpaceError, "elements asked for", space=space)


def test_no_gpaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from materia.simulation.engines import gpaw

    def absent(name: str) -> str:
        raise gpaw.PackageNotFoundError(name)

    monkeypatch.setattr(gpaw, "version", absent)
    error = refused(tmp_path, EngineError, "GPAW is not installed")
    assert "pip install" in str(error)


@pytest.mark.gpaw
def test_ranks_without_mpi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from materia.simulation.engines import gpaw

    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    monkeypatch.setattr(gpaw, "_libraries", lambda: {"mpi": ""})
    compute = {"ranks": 4, "mpi": {"launch": ["mpiexec", "-n", "{ranks}"]}}
    error = refused(tmp_path, EngineError, "built without MPI, and jobs are to run on 4 ranks", compute=compute)
    assert "compute.ranks" in str(error)


@pytest.mark.gpaw
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    campaign = tiny(tmp_path / "campaign")
    campaign.folder.parent.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            step(campaign.folder, campaign.file)
    finally:
        campaign.folder.parent.chmod(0o755)


@pytest.mark.gpaw
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_read_only_folder_and_a_full_disk(tmp_path: Path) -> None:
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("no small file system can be mounted here")
    try:
        campaign = tiny(tmp_path / "campaign")
        with pytest.raises(StorageError, match="space"):
            step(disk / "run", campaign.file)
        assert not (disk / "run" / "campaign.yaml").exists()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StorageError, match=r"[Rr]ead-only"):
            step(disk / "other", campaign.file)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.gpaw
def test_two_drivers_on_one_campaign(tmp_path: Path) -> None:
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    campaign = tiny(tmp_path)
    first = campaign.start()
    try:
        deadline = time.monotonic() + 120
        while not (campaign.folder / "campaign.yaml").is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        with pytest.raises(CampaignLockedError, match=str(first.pid)):
            step(campaign.folder, campaign.file)
    finally:
        first.kill()
        first.communicate()


def test_a_folder_without_a_campaign(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="no campaign"):
        step(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpaw
def test_other_settings_than_the_folder_was_started_with(tmp_path: Path) -> None:
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    campaign = tiny(tmp_path, surrogate={"members": 2, "epochs": 1})
    step(campaign.folder, campaign.file)
    content = yaml.safe_load(campaign.file.read_text())
    content["seed"] = 99
    campaign.file.write_text(yaml.safe_dump(content))
    with pytest.raises(CampaignError, match="other settings"):
        step(campaign.folder, campaign.file)


def test_status_of_nothing_is_an_error_in_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "materia.cli", "status", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no campaign" in done.stderr
    assert "Traceback" not in done.stderr
