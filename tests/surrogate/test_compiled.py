"""Compiled networks: the same numbers, the same weights' names, a clear error without a compiler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from materia.crystal import Crystal
from materia.errors import ConfigError
from materia.quantities import FORMATION_ENERGY, GAP_PBE
from materia.surrogate import Example, Surrogate, SurrogateSettings, train


@pytest.fixture
def tiny(small: SurrogateSettings) -> SurrogateSettings:
    return small.model_copy(update={"members": 1, "layers": 1, "epochs": 2, "strain": 0.0, "rattle": 0.0})


@pytest.mark.slow  # compiles two networks
def test_a_compiled_model_predicts_and_trains_alike(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    examples: list[Example],
    crystals: list[Crystal],
    tiny: SurrogateSettings,
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    few, targets = examples[:16], [FORMATION_ENERGY, GAP_PBE]
    plain = train(few, targets=targets, settings=tiny, folder=tmp_path / "plain")
    fast = train(few, targets=targets, settings=tiny.model_copy(update={"compile": True}), folder=tmp_path / "fast")
    compiled = Surrogate.load(tmp_path / "plain", compiled=True)

    expected = plain.predict(crystals)
    np.testing.assert_allclose(compiled.predict(crystals).mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(fast.predict(crystals).mean, expected.mean, atol=1e-3)
    assert set(fast.members[0].network.state_dict()) == set(plain.members[0].network.state_dict())
    assert any((tmp_path / "cache/materia/compiled").rglob("*")), "what was compiled is kept"


def test_without_a_compiler_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: list[Example], tiny: SurrogateSettings
) -> None:
    train(examples[:16], targets=[FORMATION_ENERGY], settings=tiny, folder=tmp_path / "plain")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match="compiler") as error:
        Surrogate.load(tmp_path / "plain", device="cpu", compiled=True)
    assert "g++" in error.value.remedy
