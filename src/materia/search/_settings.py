"""What is wanted and how to look for it, as written in a campaign file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from materia import quantities
from materia.errors import ConfigError


def _registered(name: str) -> str:
    try:
        return quantities.quantity(name).name
    except ConfigError as error:  # a ValueError lets pydantic name the key it came from
        raise ValueError(f"{error.what}; {error.remedy}") from None


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str

    @field_validator("quantity")
    @classmethod
    def _known(cls, name: str) -> str:
        return _registered(name)


class Objective(_Wanted):
    """Something to bring into a window, or to make small or large.

    Its *loss* is minimised: the distance to the window (0 inside), the value itself, or minus the value.

    Attributes:
        quantity: registered name.
        window: lower and upper edge in the quantity's unit; being inside is a condition of a hit.
        goal: ``minimize`` or ``maximize``; a wish, not a condition (write a constraint for that).
        weight: what one unit of this loss counts in the total loss.
    """

    window: tuple[float, float] | None = None
    goal: Literal["minimize", "maximize"] | None = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.window is None) == (self.goal is None):
            raise ValueError(f"objective on {self.quantity!r} needs exactly one of window or goal")
        if self.window is not None:
            low, high = self.window
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"window [{low}, {high}] of {self.quantity!r} must be finite with low < high")
        return self

    @property
    def interval(self) -> tuple[float, float]:
        """What a hit must lie in: the window, or everything."""
        return self.window if self.window is not None else (-math.inf, math.inf)


class Constraint(_Wanted):
    """A bound that a hit must respect (edges included).

    Attributes:
        quantity: registered name.
        below: upper bound in the quantity's unit.
        above: lower bound in the quantity's unit.
    """

    below: float | None = Field(default=None, allow_inf_nan=False)
    above: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.below is None) == (self.above is None):
            raise ValueError(f"constraint on {self.quantity!r} needs exactly one of below or above")
        return self

    @property
    def interval(self) -> tuple[float, float]:
        """What a hit must lie in."""
        return (
            -math.inf if self.above is None else self.above,
            math.inf if self.below is None else self.below,
        )

    @property
    def name(self) -> str:
        """Name of the constraint on the trial, such as ``energy_above_hull below 0.1``."""
        bound = f"below {self.below:g}" if self.below is not None else f"above {self.above:g}"
        return f"{self.quantity} {bound}"


class StopSettings(BaseModel):
    """When a campaign has done enough before its rounds are over: as soon as one of these holds.

    They are asked between two rounds, of what the surrogate of the next one believes of the candidates that are left,
    corrected by what the picks so far have shown of such beliefs.

    Attributes:
        remaining_hits: no more hits are left than so many.
        remaining_share: no more than this share of all hits, found and left, is left.
        calculations_per_hit: the next hit is expected to cost more calculations, or fewer than one is expected in all.
        cpu_hours_per_hit: the same in predicted CPU hours.
        hypervolume_share: all that is left adds no more than this share of the hypervolume; needs a goal.
        certainty: probability with which what is said of ``remaining`` and ``hypervolume_share`` has to hold. 0.5 stops
            closest to the moment, higher ones later.
        not_before: rounds that are computed in any case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    remaining_hits: Annotated[int, Field(ge=0)] | None = None
    remaining_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    calculations_per_hit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    cpu_hours_per_hit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    hypervolume_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    certainty: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    not_before: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if not (self.asks_hits or self.hypervolume_share is not None):
            raise ValueError("stop holds no rule: write remaining_share, calculations_per_hit or another one")
        return self

    @property
    def asks_hits(self) -> bool:
        """Whether a rule speaks of hits."""
        return any(
            rule is not None
            for rule in (self.remaining_hits, self.remaining_share, self.calculations_per_hit, self.cpu_hours_per_hit)
        )

    def check(self, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> None:
        """
        Raises:
            ValueError: a rule on hits where nothing makes one, or on the hypervolume without a goal.
        """
        if self.asks_hits and not constraints and all(o.window is None for o in objectives):
            raise ValueError("search.stop speaks of hits, and nothing makes one: write a window or a constraint")
        if self.hypervolume_share is not None and all(o.goal is None for o in objectives):
            raise ValueError("search.stop.hypervolume_share needs an objective with a goal (minimize or maximize)")


class SearchSettings(BaseModel):
    """How the next candidates are chosen.

    Attributes:
        acquisition: entry point name in ``materia.acquisitions``. ``probability`` (of meeting every written
            condition) is the default: with few small rounds on a pool of thousands it is the one-step optimal
            rule for the number of hits found, and it needs no reference point.
        batch: picks a round.
        rounds: rounds of the campaign.
        exploration: share of the slots given to ``explorer`` instead, spread evenly; 0 turns it off
            (honest opponents never explore).
        explorer: acquisition used in those slots.
        diversity: 0 (off) to 1; how strongly candidates close to one that is pending are discounted, by
            distance in the surrogate's embedding and by shared family (prototype, chemistry).
        cost_power: 0 counts picks, 1 counts predicted seconds; in between it is a compromise.
        failures: ``learn``: a candidate's value is multiplied by its probability of ending well, learned from the
            calculations that ended; ``drop``: failed ones are left out and nothing is learned from them.
        hull: what predicted distances to the hull are measured from: ``expected``, the phases that were computed and,
            at their predicted energies, all other candidates and further compounds of their elements; ``known``, those
            that were computed alone.
        max_cost_s: candidates predicted to cost more than this many seconds are left out.
        approval: ``required``: picks are proposed, and submitted only when a person approves them.
        plan: ``required``: nothing is submitted without a backtest of these very settings that speaks for the
            campaign, or an override with a reason; ``advised``: what the backtest said is told at the start.
        stop: rules that end the campaign before its rounds are over.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    acquisition: str = "probability"
    batch: Annotated[int, Field(ge=1)] = 4
    rounds: Annotated[int, Field(ge=1)] = 3
    exploration: Annotated[float, Field(ge=0, le=1)] = 0.2
    explorer: str = "spread"
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.5
    cost_power: Annotated[float, Field(ge=0, le=1)] = 0.5
    failures: Literal["learn", "drop"] = "learn"
    hull: Literal["expected", "known"] = "expected"
    max_cost_s: Annotated[float, Field(gt=0)] | None = None
    approval: Literal["automatic", "required"] = "automatic"
    plan: Literal["required", "advised", "off"] = "advised"
    stop: StopSettings | None = None

    def explores(self, round_: int, slot: int) -> bool:
        """Whether this slot belongs to the explorer (an exact share over the campaign, evenly spread)."""
        place = round_ * self.batch + slot
        return math.floor((place + 1) * self.exploration) > math.floor(place * self.exploration)
