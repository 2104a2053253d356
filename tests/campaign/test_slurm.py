"""The tiny campaign through a real Slurm: the same picks and labels as on the local backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from materia.compute import Site
from materia.record import CampaignRecord
from tiny_campaign import calculations, essence, tiny

pytestmark = [pytest.mark.gpaw, pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1500)]


def test_slurm_gives_the_same_campaign(slurm_site: Site, undisturbed: CampaignRecord, tmp_path: Path) -> None:
    record = tiny(tmp_path, compute={"backend": "slurm", "site": "dev"}).finish()
    assert essence(record) == essence(undisturbed)
    assert set(calculations(record.folder).values()) == {1}
    assert (record.folder / "tasks").is_dir(), "nothing went through Slurm"
