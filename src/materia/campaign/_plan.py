"""The backtest gate: what a campaign's strategy would have won on the labels at hand, before anything is spent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia import files
from materia.campaign._decide import decided_by, one_line
from materia.campaign._folder import load_dataset, now
from materia.campaign._gate import FILE, plan_digest
from materia.campaign._labels import BEYOND
from materia.campaign._ladder import seconds_of
from materia.campaign._learning import MIN_EXAMPLES
from materia.campaign._phases import known_phases, seconds_to_validate
from materia.campaign._replay import replay
from materia.campaign._settings import CampaignSettings, find_campaign_file, load_settings
from materia.compute import Cost, Energy, Site
from materia.errors import CampaignError, EngineError
from materia.search import Conditions
from materia.search.replay import DataSettings, KnownPool, ReplaySettings, StrategySettings
from materia.simulation import expected_error
from materia.space import Pool, generate

MIN_HITS = 20  # below this a backtest cannot tell
CAMPAIGN, BASELINE = "campaign", "forest"

_SAMPLE, _SAMPLE_VALIDATED = 200, 12  # candidates whose cost is estimated, and that of their competing phases


def plan(
    file: str | Path,
    folder: str | Path | None = None,
    *,
    override: str = "",
    seeds: int = 10,
    jobs: int | None = None,
    on_run: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Replay a campaign's strategy on the labels it starts from, and say whether it is worth running.

    Args:
        file: campaign file, or the name of one that ships.
        folder: campaign folder, where ``plan.json`` and the backtest go; default ``runs/NAME``.
        override: reason for which the campaign is to run although the backtest speaks against it; recorded with
            who gave it and when.
        seeds, jobs, on_run: as for :func:`materia.replay`.

    Returns:
        ``verdict``: ``go``; ``refused`` (the interval of the acceleration against random choice,
        luck with the pool of labels included, includes 1),
        ``overridden``, or ``unknown`` (fewer than 20 known hits: a round of exploration is planned instead);
        ``hits``, ``labels``, ``acceleration`` and ``against_forest`` with their intervals where they are known;
        ``picks`` and their ``cost``; the ``level`` they are computed at, with its expected error where that was
        measured; ``made`` (when) and ``digest`` (of settings and labels: a campaign that requires
        a plan takes none of others).

    Raises:
        ConfigError, DatasetError: the file or its data cannot be used.
        StorageError: the plan cannot be recorded.
    """
    settings = load_settings(find_campaign_file(file))
    where = Path(folder) if folder is not None else Path("runs") / settings.name
    known, hits = _known(settings)
    found: dict[str, Any] = {"name": settings.name, "labels": known, "hits": hits, "needed_hits": MIN_HITS}
    if hits < MIN_HITS:
        found |= {
            "verdict": "unknown",
            "picks": settings.search.batch,
            "exploration": {"rounds": 1, "exploration": 1.0},
        }
    else:
        figures = replay(_backtest(settings, known, seeds), where / "backtest", jobs=jobs, on_run=on_run)
        mine = figures["strategies"][CAMPAIGN]
        speed = _with_luck(mine["acceleration"], figures["goal"]["luck"])
        found |= {
            "verdict": "go" if speed["low"] > 1 else "overridden" if override else "refused",
            "acceleration": speed,
            "against_forest": mine["against"][BASELINE],
            "seeds": mine["seeds"],
            "page": figures["page"],
            "picks": settings.search.batch * settings.search.rounds,
        }
    own = settings.ladder.own
    error = expected_error(own)
    found["level"] = {"name": own.name, "expected_error": None if error is None else error.to_record()}
    found["cost"] = _cost(settings, int(found["picks"]))
    found |= {"digest": plan_digest(settings, load_dataset(settings)), "made": now()}
    if override:
        found["override"] = {"reason": one_line(override, "reason", "--override"), **decided_by()}
    files.write_whole(
        where / FILE, json.dumps(found, indent=1, ensure_ascii=False) + "\n", "the plan cannot be recorded"
    )
    return found


def _with_luck(speed: Mapping[str, float], luck: Sequence[float]) -> dict[str, float]:
    """The interval over seeds, widened to what luck with this one pool could have done: labels dealt out at random
    among its structures must not pass for knowledge."""
    low, high = min(speed["low"], speed["value"] / luck[1]), max(speed["high"], speed["value"] / luck[0])
    return {"value": speed["value"], "low": round(low, 4), "high": round(high, 4)}


def require_worth(found: dict[str, Any]) -> None:
    """
    Raises:
        CampaignError: the backtest refused the campaign.
    """
    if found["verdict"] == "refused":
        speed = found["acceleration"]
        raise CampaignError(
            f"on the labels at hand the strategy is {speed['value']:.2f} ({speed['low']:.2f} to {speed['high']:.2f}) "
            "times as fast as random choice: the interval includes 1",
            where=found["name"],
            remedy='change the strategy or add labels; to run it all the same: --override "REASON", which is recorded',
        )


def _known(settings: CampaignSettings) -> tuple[int, int]:
    """Labelled structures that have every quantity asked about, and how many of them are hits."""
    dataset = load_dataset(settings)
    if settings.data is None or not dataset.computed:
        return 0, 0
    conditions = Conditions(settings.objectives, settings.constraints)
    labelled = {label.quantity for entry in dataset.computed for label in entry.labels}
    if set(conditions.quantities) & set(BEYOND) - labelled:  # nobody has computed one yet: that is no mistake
        return 0, 0
    pool = KnownPool.load(DataSettings(dataset=settings.data), conditions)
    return len(pool), int(pool.hits(conditions).sum())


def _backtest(settings: CampaignSettings, known: int, seeds: int) -> ReplaySettings:
    learner, options = _learner(settings)
    search = settings.search.model_copy(update={"stop": None})  # how fast it is, not when it ends
    mine = StrategySettings(name=CAMPAIGN, learner=learner, options=options, search=search)
    forest = {"acquisition": "probability", "exploration": 0.0, "diversity": 0.0}
    return ReplaySettings(
        version=1,
        name=settings.name,
        data=DataSettings(dataset=settings.data),
        objectives=settings.objectives,
        constraints=settings.constraints,
        start=max(MIN_EXAMPLES, known // 10),
        batch=settings.search.batch,
        seeds=seeds,
        strategies=(mine, StrategySettings.model_validate({"name": BASELINE, "learner": "forest", "search": forest})),
    )


def _learner(settings: CampaignSettings) -> tuple[str, dict[str, Any]]:
    """The learner of replays that learns as the campaign will, and its options."""
    asked = settings.surrogate
    if asked is None:
        return "none", {}
    if asked.readout == "gaussian_process":
        return asked.readout, {"model": asked.pretrained, "device": asked.device, "trees": asked.trees}
    return "network", asked.model_dump(mode="json")


def _cost(settings: CampaignSettings, picks: int) -> dict[str, Any]:
    """CPU hours, node-hours, hours on the wall (queues left out), kWh and kg CO2e of so many average picks.

    The factors are those of the site profile or of the campaign file, as in the accounts afterwards; None without.
    """
    pool, seconds_for = generate(settings.space), seconds_of(settings.ladder.rungs)
    rows = np.random.default_rng(settings.seed).permutation(len(pool))[:_SAMPLE]
    seconds = []
    for crystal in map(pool.crystal, map(int, rows)):
        try:
            seconds.append(sum(seconds_for(crystal)))
        except EngineError as error:
            return {"unknown": error.what}
    limit = settings.search.max_cost_s
    affordable = [s for s in seconds if limit is None or s <= limit] or [min(seconds)]
    each = float(np.mean(affordable))
    node, in_parallel, energy = _machine(settings)
    cpu_s = picks * each
    cost = Cost(attempts=picks, cpu_s=cpu_s, node_s=None if node is None else cpu_s / node)
    return {
        "cpu_s_pick": round(each, 1),
        "cpu_s_validation": _validation(settings, pool, rows[:_SAMPLE_VALIDATED]),
        "cpu_hours": round(cpu_s / 3600, 3),
        "node_hours": None if cost.node_s is None else round(cost.node_s / 3600, 3),
        "wall_hours": round(cpu_s / 3600 / in_parallel, 3),
        "kwh": cost.kwh(energy),
        "co2e_kg": cost.co2e_kg(energy),
        "factors": energy.model_dump(),
    }


def _validation(settings: CampaignSettings, pool: Pool, rows: NDArray[np.int64]) -> float | None:
    """Mean CPU seconds of the competing phases of a hit, those that are known or unlikely included: at most; None where
    the campaign asks for none."""
    if settings.ladder.competing is None:
        return None
    known = known_phases(settings.ladder, pool)
    return round(float(np.mean([seconds_to_validate(settings.ladder, pool.crystal(int(i)), known) for i in rows])), 1)


def _machine(settings: CampaignSettings) -> tuple[int | None, int, Energy]:
    """Cores of a node where known, cores at work at once (a batch's jobs run side by side), factors to kWh and CO2e."""
    compute = settings.compute
    if compute.backend == "local":
        cores = len(os.sched_getaffinity(0))
        return cores, min(compute.cores or cores, cores), compute.energy
    if compute.backend == "slurm":
        site = Site.load(compute.site, compute.overrides)
        return site.limits().cores, settings.search.batch, site.energy
    return None, settings.search.batch, Energy()
