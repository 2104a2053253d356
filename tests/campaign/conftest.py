"""The undisturbed campaign that the others are compared with."""

from __future__ import annotations

import pytest

from materia.record import CampaignRecord
from materia.simulation import engine
from tiny_campaign import tiny


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> CampaignRecord:
    """The tiny campaign run once from start to end."""
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    return tiny(tmp_path_factory.mktemp("undisturbed")).finish()
