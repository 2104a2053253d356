"""The local backend: the conformance tests, and what is particular to it."""

from __future__ import annotations

import pytest

from materia.compute import ComputeSettings, Retries
from materia.compute.testing import BackendConformance


class TestLocalBackend(BackendConformance):
    @pytest.fixture
    def settings(self) -> ComputeSettings:
        return ComputeSettings(backend="local", cores=4, retries=Retries(timeouts=0))
