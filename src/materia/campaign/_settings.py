"""The campaign file: every room's settings composed into one, read with errors a person can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from materia.campaign._rungs import LadderSettings
from materia.compute import ComputeSettings
from materia.errors import ConfigError
from materia.quantities import ENERGY_ABOVE_HULL
from materia.resources import resource
from materia.search import Constraint, Objective, SearchSettings
from materia.settings_files import explained, read_mapping, rooted
from materia.space import SpaceSettings
from materia.surrogate import SurrogateSettings
from materia.tracking import TrackingSettings


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

    @property
    def expects_hull(self) -> bool:
        """Whether predicted distances to the hull are measured from expected phases too.

        Not where the distance is an objective: what was found is the mark that predictions have to beat there; it is
        measured from computed phases, and so must they be.
        """
        asked = any(constraint.quantity == ENERGY_ABOVE_HULL for constraint in self.constraints)
        objective = any(o.quantity == ENERGY_ABOVE_HULL for o in self.objectives)
        return asked and not objective and self.search.hull == "expected"

    @model_validator(mode="after")
    def _conditions_can_be_known(self) -> Self:
        for wanted in (*self.objectives, *self.constraints):
            if wanted.quantity not in self.ladder.gives:
                rungs = ", ".join(rung.recipe for rung in self.ladder.recipes)
                raise ValueError(
                    f"{wanted.quantity} is asked for, and no rung of the ladder ({rungs}) gives it; "
                    f"known at its top are {', '.join(sorted(self.ladder.gives))}"
                )
        return self

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
    content = read_mapping(path, "campaign", "start from experiments/quickstart.yaml")
    return parse_settings(content, where=path)


def parse_settings(content: dict[str, Any], *, where: str | Path) -> CampaignSettings:
    """Check the content of a campaign file; errors as :func:`load_settings`."""
    try:
        settings = CampaignSettings.model_validate(_rooted(content, Path(where)))
    except ValidationError as error:
        raise explained(error, CampaignSettings, where) from error
    return settings


def _rooted(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """Relative paths of files and datasets are relative to the campaign file, not to where it is started."""
    content = dict(content)
    space, compute = content.get("space"), content.get("compute")
    if isinstance(space, dict) and isinstance(space.get("files"), list):
        content["space"] = {**space, "files": [rooted(str(path), file) for path in space["files"]]}
    if isinstance(compute, dict) and isinstance(compute.get("stores"), list):
        stores = [str((file.parent / str(store)).resolve()) for store in compute["stores"]]
        content["compute"] = {**compute, "stores": stores}
    data = content.get("data")
    if isinstance(data, str) and data != "shipped":
        content["data"] = rooted(data, file)
    ladder = content.get("ladder")
    if isinstance(ladder, dict) and isinstance(ladder.get("potentials"), dict):
        content["ladder"] = {**ladder, "potentials": _rooted_weights(ladder["potentials"], file)}
    if isinstance(ladder, dict) and isinstance(ladder.get("references"), str):
        content["ladder"] = {**content["ladder"], "references": rooted(ladder["references"], file)}
    competing = ladder.get("competing") if isinstance(ladder, dict) else None
    if isinstance(competing, dict) and isinstance(competing.get("files"), list):
        phases = [rooted(str(path), file) for path in competing["files"]]
        content["ladder"] = {**content["ladder"], "competing": {**competing, "files": phases}}
    return content


def _rooted_weights(potentials: dict[str, Any], file: Path) -> dict[str, Any]:
    """Files of weights that are named; an argument of a calculator is handed over as it is."""
    found = {}
    for name, potential in potentials.items():
        listed = potential.get("weights") if isinstance(potential, dict) else None
        if isinstance(listed, list):
            potential = {**potential, "weights": [rooted(str(path), file) for path in listed]}
        found[name] = potential
    return found
