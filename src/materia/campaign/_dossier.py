"""Why this one: what was known when a candidate was picked, put down beside the pick and never changed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from materia.campaign._knowledge import Knowledge
from materia.campaign._learning import PoolPredictions
from materia.errors import ElementError
from materia.quantities import quantity
from materia.record import Override, Pick
from materia.search import Conditions, Decision
from materia.sustainability import supply_parts

NEIGHBOURS = 5
Z_90 = 1.6449  # of the standard normal: mean ± 1.6449 std is a 90 % interval


def dossier(
    knowledge: Knowledge,
    conditions: Conditions,
    pick: Pick,
    decision: Decision,
    predictions: PoolPredictions,
    pin: Override | None,
) -> dict[str, Any]:
    """Why a candidate was picked, as JSON.

    Returns:
        ``chosen_by`` (acquisition, or ``pin``), ``acquisition`` (that scored it), ``rank`` by score among ``free``
        candidates; ``pin`` (``who``, ``when``, ``why``) or None;
        ``score``: ``parts`` with ``factor`` and its natural logarithm ``log``, and the ``total`` of both kinds: the
        factors multiply and the logarithms add up to it (None: the factor is 0);
        ``predictions``: quantity -> ``mean``, ``std``, the 90 % interval ``low`` to ``high``, what a hit needs
        (``wanted``) and the ``chance`` of it;
        ``neighbours``: the nearest labelled structures, see :func:`nearest`;
        ``rivals``: the phases that its predicted distance to the hull is measured from, see :meth:`Knowledge.rivals`;
        ``sustainability``: ``supply_risk`` and what each element adds to it, None where an element is in no table;
        ``cost_s``: predicted CPU seconds of the whole ladder.
    """
    crystal = knowledge.campaign.pool.crystal(pick.candidate_index)
    cost = float(knowledge.costs[pick.candidate_index])
    logs = dict(decision.logs)
    whole = None if any(value is None for value in logs.values()) else sum(v for v in logs.values() if v is not None)
    return {
        "candidate_id": pick.candidate_id,
        "formula": crystal.formula,
        "prototype": knowledge.campaign.pool.prototypes[pick.candidate_index],
        "round": pick.round,
        "slot": pick.slot,
        "trial": pick.trial_number,
        "chosen_by": "pin" if pin is not None else decision.acquisition,
        "acquisition": decision.acquisition,
        "rank": decision.rank,
        "free": decision.funnel.get("free"),
        "pin": None if pin is None else {"who": pin.who, "when": pin.when, "why": pin.why},
        "score": {
            "parts": {name: {"factor": decision.score[name], "log": log} for name, log in logs.items()},
            "total": {"factor": decision.score["total"], "log": whole},
        },
        "predictions": _intervals(conditions, pick),
        "neighbours": nearest(predictions, pick.candidate_index),
        "rivals": knowledge.rivals(pick.candidate_index),
        "sustainability": _sustainability(crystal.composition),
        "cost_s": cost if math.isfinite(cost) else None,
    }


def nearest(predictions: PoolPredictions, index: int, n: int = NEIGHBOURS) -> list[dict[str, Any]]:
    """The labelled structures closest to a candidate, as the round's surrogate sees them.

    Distances are root mean squares over the columns of the embedding, each in units of its standard deviation over
    the pool: two candidates drawn from the pool at random are about 1.4 apart. Empty without an embedding.

    Returns:
        ``id`` (``dataset/ID`` or ``pick/ID``), ``formula``, ``distance``, ``values`` (quantity -> label), by distance.
    """
    known = predictions.labelled
    if predictions.embedding is None or known is None or not known.ids:
        return []
    pool = np.asarray(predictions.embedding, dtype=np.float64)
    scale = pool.std(axis=0)
    delta = (np.asarray(known.embedding, dtype=np.float64) - pool[index]) / np.where(scale > 0, scale, 1.0)
    distances = np.sqrt((delta**2).mean(axis=1))
    order = np.lexsort((np.arange(len(distances)), distances))[:n]
    return [
        {
            "id": known.ids[i],
            "formula": known.formulas[i],
            "distance": float(distances[i]),
            "values": known.values[i],
        }
        for i in order
        if math.isfinite(distances[i])
    ]


def _intervals(conditions: Conditions, pick: Pick) -> dict[str, dict[str, Any]]:
    found = {}
    for name, belief in pick.predictions.items():
        mean, std, floor = belief["mean"], belief["std"], quantity(name).lower
        if not (math.isfinite(mean) and math.isfinite(std)):
            continue
        low = mean - Z_90 * std
        wanted = conditions.intervals.get(name)
        found[name] = {
            "mean": mean,
            "std": std,
            "low": low if floor is None else max(low, floor),
            "high": mean + Z_90 * std,
            "wanted": None if wanted is None else [e if math.isfinite(e) else None for e in wanted],
            "chance": conditions.chances({name: belief}).get(name),
        }
    return found


def _sustainability(composition: dict[str, int]) -> dict[str, Any] | None:
    try:
        parts = supply_parts(composition)
    except ElementError:  # no table has this element: said as missing, not as a number
        return None
    return {"supply_risk": sum(p.contribution for p in parts), "parts": [dataclasses.asdict(p) for p in parts]}
