"""The Slurm backend on a real Slurm: the conformance tests, and what only Slurm can do to a job."""

from __future__ import annotations

import pytest

from materia.compute import ComputeSettings, Retries, Site
from materia.compute.testing import BackendConformance

pytestmark = pytest.mark.slurm
FREE = {"options": [], "settle_s": 2, "poll_interval_s": 0.3}  # sleeping jobs: more at once than real cores


class TestSlurmBackend(BackendConformance):
    timeout_s = 90.0

    @pytest.fixture
    def settings(self, slurm_site: Site) -> ComputeSettings:
        return ComputeSettings(backend="slurm", site="dev", overrides=FREE, retries=Retries(timeouts=0))
