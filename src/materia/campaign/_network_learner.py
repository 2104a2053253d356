"""The campaign's surrogate as a learner of replays: the network, trained every round."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.search.replay import KnownPool, Learned
from materia.surrogate import Example, GraphStore, Surrogate, SurrogateSettings, train


class NetworkLearner:
    """Trains a surrogate on the labels at hand and predicts the pool, as a campaign does.

    Weights it starts from must not have seen a label of the pool: those that ship were pretrained on Materials
    Project data, so a replay on such data sets ``pretrained: null``.

    Args:
        every: rounds from one training to the next; in between the last model goes on predicting.
        predict_on: device of the predictions. They gain from a GPU on any large pool; training on a few hundred
            labels does not, so ``device: cpu`` may go with it.
        **settings: fields of :class:`materia.surrogate.SurrogateSettings`.
    """

    def __init__(self, every: int = 1, predict_on: str = "auto", **settings: Any) -> None:
        self.every, self.predict_on = every, predict_on
        self.settings = SurrogateSettings.model_validate(settings)
        self._rounds = 0
        self._learned: Learned | None = None
        self._last: tempfile.TemporaryDirectory[str] | None = None  # the model of the round before
        self._graphs: tuple[KnownPool, GraphStore] | None = None

    def learn(
        self, pool: KnownPool, rows: NDArray[np.int64], labels: Mapping[str, NDArray[np.float64]], seed: int
    ) -> Learned:
        if self._learned is None or self._rounds % self.every == 0:
            self._learned = self._train(pool, rows, labels, seed)
        self._rounds += 1
        return self._learned

    def _train(
        self, pool: KnownPool, rows: NDArray[np.int64], labels: Mapping[str, NDArray[np.float64]], seed: int
    ) -> Learned:
        examples = [
            Example(pool.crystals[i], {q: float(v[k]) for q, v in labels.items()}, pool.formulas[i])
            for k, i in enumerate(rows)
        ]
        folder = tempfile.TemporaryDirectory(prefix="materia-replay-")
        model: Surrogate = train(
            examples,
            targets=tuple(labels),
            settings=self.settings,
            folder=folder.name,
            seed=seed,
            previous=None if self._last is None else self._last.name,
            progress=False,
        )
        model = replace(model, device=self.predict_on)
        if self._last is not None:
            self._last.cleanup()
        self._last = folder
        if self._graphs is None or self._graphs[0] is not pool:
            self._graphs = (pool, model.prepare(pool.crystals))
        found = model.predict(self._graphs[1])
        return Learned({name: found.column(name) for name in labels}, found.embedding)
