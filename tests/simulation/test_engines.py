from __future__ import annotations

import pytest

from materia.errors import EngineError
from materia.simulation import engine
from materia.simulation.testing import EngineConformance

pytestmark = pytest.mark.gpaw
if not engine("gpaw").capabilities().available:
    pytest.skip("GPAW is not installed", allow_module_level=True)


class TestGPAW(EngineConformance):
    engine = engine("gpaw")

    def test_says_whether_libxc_is_there(self) -> None:
        assert "libxc" in self.engine.capabilities().features


def test_unknown_engine_names_the_installed_ones() -> None:
    with pytest.raises(EngineError, match="gpaw"):
        engine("vasq")
