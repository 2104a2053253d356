"""Which settings of the surrogate are searched, and between which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from materia.errors import ConfigError
from materia.surrogate import SurrogateSettings

if TYPE_CHECKING:
    import optuna


class Between(BaseModel):
    """A number between two others, whole where both are.

    Attributes:
        low, high: both included.
        log: whether factors count rather than differences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["between"] = "between"
    low: int | float
    high: int | float
    log: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class OneOf(BaseModel):
    """One of several values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["one of"] = "one of"
    values: tuple[bool | int | float | str, ...] = Field(min_length=2)

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        return trial.suggest_categorical(name, list(self.values))

    def holds(self, value: Any) -> bool:
        return value in self.values


Dimension = Between | OneOf

_ALWAYS: Mapping[str, Dimension] = {
    "learning_rate": Between(low=3e-4, high=1e-2, log=True),
    "weight_decay": Between(low=1e-4, high=0.3, log=True),
    "batch_size": OneOf(values=(8, 16, 32)),
    "strain": Between(low=0.0, high=0.03),
    "rattle": Between(low=0.0, high=0.06),
    "ema": OneOf(values=(0.98, 0.99, 0.995)),
}
_FROM_WEIGHTS: Mapping[str, Dimension] = {"trunk_rate": Between(low=0.03, high=1.0, log=True)}
_FROM_RANDOM: Mapping[str, Dimension] = {"channels": OneOf(values=(16, 32, 48)), "layers": OneOf(values=(2, 3))}


def default_space(start: str | None, fixed: Sequence[str]) -> dict[str, Dimension]:
    """What is searched unless the user says what: rates and regularisation; from random weights the network's size too.

    Args:
        start: where the weights begin, None for random ones.
        fixed: settings the user has fixed.
    """
    space = {**_ALWAYS, **(_FROM_RANDOM if start is None else _FROM_WEIGHTS)}
    return {name: dimension for name, dimension in space.items() if name not in fixed}


def read_dimension(text: str) -> tuple[str, Dimension]:
    """``NAME=LOW:HIGH``, ``NAME=LOW:HIGH:log`` or ``NAME=A,B,C``.

    Raises:
        ConfigError: it is not of that form, or there is no such setting.
    """
    name, _, said = (part.strip() for part in text.partition("="))
    if name not in SurrogateSettings.model_fields:
        raise ConfigError(
            f"{name!r} is no setting of the surrogate",
            remedy=f"settings are: {', '.join(SurrogateSettings.model_fields)}",
        )
    try:
        if "," in said:
            return name, OneOf(values=tuple(yaml.safe_load(part) for part in said.split(",")))
        low, high, *rest = said.split(":")
        if rest not in ([], ["log"]):
            raise ValueError(said)
        found = Between(low=yaml.safe_load(low), high=yaml.safe_load(high), log=bool(rest))
        if not found.low < found.high or (found.log and found.low <= 0):
            raise ValueError(said)
    except ValueError:  # pydantic's errors are such
        raise ConfigError(
            f"{text!r} does not say what to search",
            remedy="write NAME=LOW:HIGH (LOW below HIGH), NAME=LOW:HIGH:log (above zero) or NAME=A,B,C",
        ) from None
    return name, found
