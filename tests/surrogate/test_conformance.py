"""Our surrogate passes what it asks of everybody's, in single and in double precision."""

from __future__ import annotations

from pathlib import Path

import pytest

from form_examples import ALL, SETTINGS, examples
from materia.resources import resource
from materia.surrogate import Surrogate, train
from materia.surrogate.testing import SurrogateConformance


def trained(folder: Path, precision: str) -> Surrogate:
    settings = SETTINGS.model_copy(update={"epochs": 4, "precision": precision})
    names = [q.name for q in ALL]
    return train(examples(), targets=names, declared=ALL, settings=settings, folder=folder, progress=False)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Surrogate:
    return trained(tmp_path_factory.mktemp("single"), "32-true")


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Surrogate:
    return trained(tmp_path_factory.mktemp("double"), "64-true")


class TestSinglePrecision(SurrogateConformance):
    @pytest.fixture
    def surrogate(self, single: Surrogate) -> Surrogate:
        return single


class TestDoublePrecision(SurrogateConformance):
    tolerance = 1e-9

    @pytest.fixture
    def surrogate(self, double: Surrogate) -> Surrogate:
        return double


class TestShippedWeights(SurrogateConformance):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Surrogate.load(resource("data/weights/base"), device="cpu")
