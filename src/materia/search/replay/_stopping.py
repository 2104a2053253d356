"""When stop rules would have ended a run, against one who knows the answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from materia.search._remaining import Remaining
from materia.search._settings import StopSettings
from materia.search._stop import enough
from materia.search.replay._intervals import interval
from materia.search.replay._trajectory import VALUE, Trajectory

NEAR = 0.2  # relative distance to the oracle's step that counts as near
LOST = 0.05  # share of the hits that may be lost


def oracle_step(run: Trajectory, hits: np.ndarray) -> int | None:
    """Calculations, the start included, after which at least 95 % of the pool's hits had been found for the first time.

    The oracle sees the answers and has this run's order to go by; None where the run did not get that far.
    """
    found = np.cumsum(hits[list(run.order)])
    wanted = math.ceil(VALUE * hits.sum() - 1e-9)
    return int(np.searchsorted(found, wanted) + 1) if len(found) and found[-1] >= wanted else None


def stop_step(run: Trajectory, rules: StopSettings) -> int | None:
    """Calculations after which these rules would have ended a run, from what it wrote down; None: never.

    So rules can be compared on runs that were made with others, as long as those went on for long enough. A rule on
    the hypervolume is only answered by a run that was made with one, at that one's certainty.
    """
    for number, round_ in enumerate(run.rounds):
        left = round_.get("remaining")
        if left is not None and number >= rules.not_before and enough(rules, Remaining.from_json(left)):
            return int(round_["n"])
    return None


def stopping(
    runs: Sequence[Trajectory],
    hits: np.ndarray,
    rules: StopSettings,
    volume: Callable[[np.ndarray], float] | None = None,
) -> dict[str, Any]:
    """Figures of the stop rules over the seeds, as plain data; intervals are 95 %, from a bootstrap over the seeds.

    Args:
        runs: of one strategy.
        hits: (n,) bool, of the pool; or (runs, n) where they differ from run to run.
        rules: the stop rules.
        volume: share of the pool's hypervolume that rows dominate.

    Returns:
        ``rules``; ``seeds``, ``stopped`` (runs that the rules would have ended; the others count as ended where they
        do) and ``seen`` (runs whose oracle's step is known: of the others there are no distances); ``step`` and
        ``oracle`` in calculations; ``distance`` (step over the oracle's step, less 1) and ``off`` (its absolute value);
        ``lost`` (share of the pool's hits not found at the stop); the shares of seeds ``near`` (at most 20 % off),
        ``kept`` (at most 5 % lost) and ``both``; ``hypervolume_lost`` where ``volume`` is given; ``runs`` with each
        seed's ``step``, ``oracle`` and ``lost``.
    """
    rows: list[dict[str, Any]] = []
    for run, good in zip(runs, each_run(hits, runs), strict=True):
        step, oracle = stop_step(run, rules), oracle_step(run, good)
        end = len(run.order) if step is None else step
        done = np.array(run.order[:end])
        rows.append(
            {
                "seed": run.seed,
                "stopped": step is not None,
                "step": end,
                "oracle": oracle,
                "lost": round(1.0 - float(good[done].sum()) / float(good.sum()), 4) if good.any() else 0.0,
                "volume": None if volume is None else volume(done),
            }
        )
    seen = [r for r in rows if r["oracle"] is not None]
    lost = np.array([r["lost"] for r in rows])
    figures: dict[str, Any] = {
        "rules": rules.model_dump(mode="json", exclude_none=True),
        "seeds": len(rows),
        "stopped": sum(r["stopped"] for r in rows),
        "seen": len(seen),
        "step": interval(np.array([float(r["step"]) for r in rows])),
        "lost": interval(lost),
        "kept": round(float((lost <= LOST + 1e-9).mean()), 4),
    }
    if seen:
        off = np.array([r["step"] / r["oracle"] - 1.0 for r in seen])
        near = np.abs(off) <= NEAR + 1e-9
        figures |= {
            "oracle": interval(np.array([float(r["oracle"]) for r in seen])),
            "distance": interval(off),
            "off": interval(np.abs(off)),
            "near": round(float(near.mean()), 4),
            "both": round(float((near & np.array([r["lost"] <= LOST + 1e-9 for r in seen])).mean()), 4),
        }
    if volume is not None:
        figures["hypervolume_lost"] = interval(np.array([1.0 - r["volume"] for r in rows]))
    figures["runs"] = [{k: r[k] for k in ("seed", "stopped", "step", "oracle", "lost")} for r in rows]
    return figures


def each_run(hits: np.ndarray, runs: Sequence[Trajectory]) -> np.ndarray:
    """(runs, n) bool of the hits that each run can find, given those or (n,) that all can."""
    return np.broadcast_to(hits, (len(runs), hits.shape[-1]))


def bounds(runs: Sequence[Trajectory], hits: np.ndarray) -> dict[str, Any] | None:
    """The hits still to be found as they were told and as they were, by number of labels; None where none were told."""
    told = [[r for r in run.rounds if r.get("remaining")] for run in runs]
    common = min((len(rounds) for rounds in told), default=0)
    if common == 0:
        return None
    totals = each_run(hits, runs).sum(axis=1).tolist()
    every = [(total, r) for total, rounds in zip(totals, told, strict=True) for r in rounds]
    held = [total - r["remaining"]["found"] <= r["remaining"]["high"] for total, r in every]
    among = [[rounds[k] for rounds in told] for k in range(common)]
    total = float(np.mean(totals))

    def mean(key: str) -> list[float]:
        return [round(float(np.mean([r["remaining"][key] for r in same])), 3) for same in among]

    return {
        "n": [int(same[0]["n"]) for same in among],
        "expected": mean("expected"),
        "high": mean("high"),
        "truth": [round(total - found, 3) for found in mean("found")],
        "held": round(float(np.mean(held)), 4),
    }
