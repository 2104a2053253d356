"""What a model says of examples that it has not learned from: the ground of its intervals and of its card's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia.surrogate._device import resolve_device, threads
from materia.surrogate._drift import BEYOND, unseen_distances
from materia.surrogate._evidence import Evidence
from materia.surrogate._example import Example
from materia.surrogate._folds import unseen_by
from materia.surrogate._graph import GraphStore
from materia.surrogate._settings import SurrogateSettings
from materia.surrogate._surrogate import Member, Surrogate


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold predictions of n examples.

    Attributes:
        blind: (P, n) which of the P parts of the model has not seen which example.
        rows: (m,) numbers of the examples that some part has not seen, ascending.
        evidence: what those parts say of them.
        unseen: of each member, its latent distances to what was left out (``_drift.unseen_distances``).
    """

    blind: NDArray[np.bool_]
    rows: NDArray[np.int64]
    evidence: Evidence
    unseen: list[dict[str, Any]]


def of_members(
    members: Sequence[Member],
    examples: Sequence[Example],
    labelled: NDArray[np.bool_],
    folds: NDArray[np.int64],
    settings: SurrogateSettings,
    source: Surrogate | None,
) -> OutOfFold:
    """Of the members of an ensemble: which folds each has not seen follows from its number and the settings.

    Args:
        labelled: (n,) whether an example has a label.
        folds: (n,) of the examples.
        source: the model that training started from.
    """
    blind = np.stack([unseen_by(k, folds, labelled, len(members), settings.left_out_by) for k in range(len(members))])
    store = GraphStore.build([e.crystal for e in examples], settings.architecture()["cutoff"])
    layout, device = members[0].network.layout, resolve_device(settings.device)
    n, width = len(examples), members[0].network.layout.width
    columns, spread = np.full((len(members), n, width), np.nan), np.full((len(members), n, width), np.nan)
    distance = np.full((len(members), n), np.nan)
    unseen = []
    with threads(settings.threads):
        for k, member in enumerate(members):
            out = np.flatnonzero(blind[k])
            if len(out):
                m, s, latents = member.evaluate(store, device)
                columns[k, out], spread[k, out] = m[out], s[out]
                distance[k, out] = member.index.distance(latents[out])
            strange = never_met(examples, ~blind[k], source)
            remote = np.where(strange, BEYOND, distance[k])[out]
            unseen.append(unseen_distances(remote, [examples[i].group for i in out.tolist()]))
    rows, parts = np.flatnonzero(blind.any(axis=0)), []
    for pattern in np.unique(blind[:, rows], axis=1).T:  # rows that the same members have not seen, together
        here, who = rows[(blind[:, rows] == pattern[:, None]).all(axis=0)], np.flatnonzero(pattern)
        parts.append((here, Evidence.of(columns[who][:, here], spread[who][:, here], distance[who][:, here], layout)))
    together = Evidence.joined([part for _, part in parts], layout)
    order = np.argsort(np.concatenate([here for here, _ in parts])) if parts else np.zeros(0, np.int64)
    return OutOfFold(blind, rows, together.of_rows(order), unseen)


def never_met(examples: Sequence[Example], seen: NDArray[np.bool_], source: Surrogate | None) -> NDArray[np.bool_]:
    """(n,) whether an example holds an element that neither the seen ones (n,) nor the source's training data hold."""
    met = set() if source is None else set(source.card["elements"])
    contents = [frozenset(int(z) for z in e.crystal.numbers) for e in examples]
    met = met.union(*(content for content, known in zip(contents, seen, strict=True) if known))
    return np.array([not content <= met for content in contents])
