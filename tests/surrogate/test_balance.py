"""How much a label weighs where one quantity has many and another few."""

from __future__ import annotations

import numpy as np
import pytest

from materia.surrogate import GraphStore, SurrogateSettings
from materia.surrogate._training import MemberTask, _balance
from surrogate_factory import make_network, rocksalt


@pytest.mark.parametrize(("exponent", "ratio"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_rare_labels_weigh_more_by_the_exponent(exponent: float, ratio: float) -> None:
    labels = np.zeros((8, 2))
    labels[2:, 1] = np.nan  # eight of one, two of the other
    store = GraphStore.build([rocksalt("Na", "Cl", 5.64)] * 8, 4.5)
    network = make_network(SurrogateSettings(channels=8, layers=1, pretrained=None))
    task = MemberTask(store, labels, [None, None], range(8), [], 0)
    often, rarely = _balance(task, network, exponent).tolist()
    assert rarely / often == pytest.approx(ratio)
    assert (8 * often + 2 * rarely) / 10 == pytest.approx(1.0), "the loss as a whole keeps its size"
