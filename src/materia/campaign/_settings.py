"""The campaign file: every room's settings composed into one, read with errors a person can act on."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from materia.compute import ComputeSettings
from materia.errors import ConfigError
from materia.resources import resource
from materia.search import Constraint, Objective, SearchSettings
from materia.simulation import LEVELS, RECIPES
from materia.space import SpaceSettings
from materia.surrogate import SurrogateSettings
from materia.tracking import TrackingSettings


class LadderSettings(BaseModel):
    """What is computed on a pick: recipes in order, each from the structure the one before left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Literal[tuple(LEVELS)] = "standard"  # type: ignore[valid-type]
    recipes: tuple[Literal[tuple(RECIPES)], ...] = ("relax", "gap")  # type: ignore[valid-type]


class CampaignSettings(BaseModel):
    """A whole campaign file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(0, ge=0)
    data: str | None = Field("shipped", description="labels to start from: 'shipped', a dataset folder, or null")
    space: SpaceSettings
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    surrogate: SurrogateSettings | None = Field(
        default_factory=SurrogateSettings, description="null: no model; the acquisition must need none"
    )
    search: SearchSettings = Field(default_factory=SearchSettings)
    ladder: LadderSettings = Field(default_factory=LadderSettings)
    compute: ComputeSettings = Field(default_factory=ComputeSettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)

    @model_validator(mode="after")
    def _stop_rules_apply(self) -> Self:
        if self.search.stop is not None:
            self.search.stop.check(self.objectives, self.constraints)
            if self.surrogate is None:
                raise ValueError("search.stop goes by a surrogate's predictions, and surrogate is null")
        return self


def find_campaign_file(name: str | Path) -> Path:
    """A campaign file by path, or by the name of one that ships (``tiny``, ``quickstart``).

    Raises:
        ConfigError: neither exists.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix == "" and "/" not in str(name):
        folder = resource("experiments")
        shipped = folder / f"{name}.yaml"
        if shipped.is_file():
            return shipped
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise ConfigError(f"no campaign file {str(name)!r}", remedy=f"give a file, or one that ships: {known}")
    raise ConfigError("no such campaign file", where=path, remedy="check the path")


def load_settings(path: str | Path) -> CampaignSettings:
    """Read and check a campaign file.

    Raises:
        ConfigError: not YAML, an unknown key (with the nearest valid one), a wrong value: names file and key.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", where=path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=path) from error
    if not isinstance(content, dict):
        raise ConfigError(
            "a campaign file holds a mapping", where=path, remedy="start from experiments/quickstart.yaml"
        )
    return parse_settings(content, where=path)


def parse_settings(content: dict[str, Any], *, where: str | Path) -> CampaignSettings:
    """Check the content of a campaign file; errors as :func:`load_settings`."""
    try:
        settings = CampaignSettings.model_validate(_rooted(content, Path(where)))
    except ValidationError as error:
        raise _explained(error, content, where) from error
    return settings


def _rooted(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """Relative paths of files and datasets are relative to the campaign file, not to where it is started."""
    content = dict(content)
    space = content.get("space")
    if isinstance(space, dict) and isinstance(space.get("files"), list):
        files = [str(f if Path(f).is_absolute() else (file.parent / str(f)).resolve()) for f in space["files"]]
        content["space"] = {**space, "files": files}
    data = content.get("data")
    compute = content.get("compute")
    if isinstance(compute, dict) and isinstance(compute.get("stores"), list):
        stores = [str((file.parent / str(store)).resolve()) for store in compute["stores"]]
        content["compute"] = {**compute, "stores": stores}
    if isinstance(data, str) and data != "shipped" and not Path(data).is_absolute():
        content["data"] = str((file.parent / data).resolve())
    return content


def _explained(error: ValidationError, content: dict[str, Any], where: str | Path) -> ConfigError:
    first = error.errors()[0]
    location = [part for part in first["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location) or "(top level)"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        valid = _valid_keys(location[:-1])
        near = get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return ConfigError(f"unknown key {key!r}{more}", where=where, remedy=f"{hint}valid here: {', '.join(valid)}")
    if first["type"] == "missing":
        return ConfigError(f"the key {key!r} is missing{more}", where=where, remedy="add it")
    given = first.get("input")
    shown = f" (given: {given!r})" if not isinstance(given, (dict, list)) else ""
    return ConfigError(f"{key}: {first['msg']}{shown}{more}", where=where, remedy=f"correct {key!r}")


def _valid_keys(location: list[Any]) -> list[str]:
    model: Any = CampaignSettings
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return []
        model = _model_in(field.annotation)
    return sorted(getattr(model, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """The pydantic model inside ``tuple[Model, ...]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found is not None:
            return found
    return None
