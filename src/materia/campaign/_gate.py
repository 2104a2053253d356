"""The gate before a campaign's first calculation: what the backtest of these very settings on these labels said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia.campaign._decide import decided_by, one_line
from materia.campaign._request import WHERE
from materia.campaign._settings import CampaignSettings
from materia.data import Dataset
from materia.errors import CampaignError
from materia.simulation import level_hash

FILE = "plan.json"


@dataclass(frozen=True)
class Advice:
    """What is known of a campaign's worth before it starts.

    Attributes:
        verdict: ``go``, ``exploration`` (too few known hits to tell, and the campaign is the round of exploration that
            the plan proposes) and ``overridden`` let it start; ``refused``, ``unknown`` (too few known hits), ``stale``
            (the plan is of other settings or labels) and ``none`` do not where a plan is required.
        message: one line for people.
        plan: the plan as recorded; empty where there is none.
    """

    verdict: str
    message: str
    plan: Mapping[str, Any]

    @property
    def passes(self) -> bool:
        return self.verdict in ("go", "exploration", "overridden")


def plan_digest(settings: CampaignSettings, dataset: Dataset) -> str:
    """SHA-256 of everything a backtest and its costs are about: the campaign file and the labels it starts from.

    Left out is what changes neither: name and seed, where things are computed and tracked, who approves picks, when
    the campaign ends early, and where the labels lie.
    """
    about = settings.model_dump(mode="json", exclude={"name", "seed", "data", "compute", "tracking"})
    for key in ("plan", "approval", "stop"):
        del about["search"][key]
    for key in WHERE:
        (about["surrogate"] or {}).pop(key, None)
    if (references := settings.ladder.references) is not None and references.is_file():
        about["ladder"]["references"] = hashlib.sha256(references.read_bytes()).hexdigest()
    else:
        del about["ladder"]["references"]
    about["labels"] = dataset.digest
    about["level_hash"] = level_hash(settings.ladder.own)
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def advice(settings: CampaignSettings, dataset: Dataset, folder: Path) -> Advice:
    """What the plan in a campaign folder says of these settings and labels.

    Raises:
        CampaignError: the plan cannot be read.
    """
    path = folder / FILE
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        verdict = str(plan["verdict"])
    except FileNotFoundError:
        return Advice("none", "no backtest was made (materia plan)", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CampaignError(
            f"the plan cannot be read: {error}", where=path, remedy="make it anew: materia plan"
        ) from None
    if plan.get("digest") != plan_digest(settings, dataset):
        return Advice("stale", "the backtest is of other settings or labels; make it anew (materia plan)", plan)
    if "override" in plan and verdict != "go":
        given = plan["override"]
        return Advice("overridden", f"{_said(plan)}; overridden by {given['who']}: {given['reason']}", plan)
    if verdict == "unknown" and settings.search.rounds == 1 and settings.search.exploration == 1.0:
        return Advice("exploration", f"{_said(plan)}; this is a round of exploration", plan)
    return Advice(verdict, _said(plan), plan)


def _said(plan: Mapping[str, Any]) -> str:
    if plan["verdict"] == "unknown":
        return f"{plan['hits']} known hits are too few for a backtest to tell (at least {plan['needed_hits']})"
    speed = plan["acceleration"]
    words = f"{speed['value']:.2f} ({speed['low']:.2f} to {speed['high']:.2f}) times as fast as random choice"
    return f"backtest: {words}" + ("" if plan["verdict"] == "go" else ", which includes 1")


def pass_gate(settings: CampaignSettings, dataset: Dataset, folder: Path, override: str = "") -> dict[str, Any]:
    """What to keep of the plan when a campaign starts: ``verdict``, ``message``, ``digest``, and the ``override``.

    Args:
        override: reason for which it starts whatever the plan says; kept with who gave it and when.

    Raises:
        CampaignError: a plan is required, and none of these settings and labels speaks for the campaign.
    """
    asked = settings.search.plan
    if asked == "off" and not override:
        return {}
    found = advice(settings, dataset, folder)
    kept: dict[str, Any] = {"verdict": found.verdict, "message": found.message, "digest": found.plan.get("digest")}
    if override:
        given = {"reason": one_line(override, "reason", "--override"), **decided_by()}
        return {
            **kept,
            "override": given,
            "message": f"{found.message}; overridden by {given['who']}: {given['reason']}",
        }
    if asked == "required" and not found.passes:
        raise CampaignError(
            f"a plan is required before anything is computed (search.plan): {found.message}",
            where=folder / FILE,
            remedy=_REMEDIES[found.verdict] + '; or give a reason, which is recorded: --override "REASON"',
        )
    if found.verdict == "none" and settings.search.acquisition == "random":
        return {}  # nothing to backtest
    return kept


_REMEDIES = {
    "none": "materia plan FILE, with the same --folder",
    "stale": "materia plan FILE again, with the same --folder",
    "unknown": "plan and run a round of exploration first (search: {rounds: 1, exploration: 1.0})",
    "refused": "change the strategy or add labels, and plan again",
}
