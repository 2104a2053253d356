"""The ladder of a campaign file: which recipes, in which order, each at which level."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_serializer, model_validator

from materia import quantities as q
from materia.campaign._labels import given_by
from materia.simulation import LEVELS, PRESETS, RECIPES, Level, PotentialSettings, level, suits
from materia.space import prototype


class ClimbSettings(BaseModel):
    """When a rung is worth its cost. What it is judged by are the conditions of the campaign: they are written once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least: float = Field(0.05, gt=0, lt=1, description="chance of meeting all conditions, by what is known so far")
    share: float = Field(0.05, ge=0, le=1, description="of those below it, that go on at random: what is missed")


class Rung(BaseModel):
    """One recipe; in the file its name alone, or with a level of its own, ``{recipe: relax, level: chgnet}``, or a test
    that a candidate has to pass, ``{recipe: hybrid, climb: {least: 0.05}}``.

    ``child`` stays unless the file says otherwise: files of versions that knew no such setting keep their meaning, and
    so do the campaigns that were started with them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    level: str | None = Field(None, description="null: the ladder's")
    climb: ClimbSettings | None = Field(None, description="null: every candidate gets here")
    child: Literal["follows", "stays"] = Field(
        "stays", description="of distorts alone: follows has the rungs above computed on what a candidate fell into"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        return {"recipe": given} if isinstance(given, str) else given

    @model_serializer
    def _as_written(self) -> str | dict[str, Any]:
        level = {} if self.level is None else {"level": self.level}
        climb = {} if self.climb is None else {"climb": self.climb.model_dump(mode="json")}
        more = {**level, **climb, **({"child": self.child} if self.child == "follows" else {})}
        return {"recipe": self.recipe, **more} if more else self.recipe

    @field_validator("recipe")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in RECIPES:
            raise ValueError(f"there is no such recipe; known are {', '.join(RECIPES)}")
        return name

    @model_validator(mode="after")
    def _child_of_what_distorts(self) -> Self:
        if "child" in self.model_fields_set and self.recipe != "distorts":
            raise ValueError(f"child is a setting of the recipe distorts alone: {self.recipe} leaves none")
        return self


class CompetingSettings(BaseModel):
    """Which phases a candidate that meets all conditions is held against, relaxed at the ladder's own level."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prototypes: tuple[str, ...] | None = Field(
        None, description="charge-balanced compounds of the candidate's own elements in these; null: in all"
    )
    files: tuple[Path, ...] = Field((), description="known phases as structure files, folders or patterns")
    max_atoms: int = Field(16, ge=1, description="in the primitive cell of a competing phase, at most")
    least: float = Field(
        0.05, ge=0, lt=1, description="chance, by the surrogate, to lie below the known hull; 0: all are computed"
    )

    @model_validator(mode="after")
    def _something_to_compare(self) -> Self:
        for name in self.prototypes or ():
            prototype(name)
        if self.prototypes == () and not self.files:
            raise ValueError("neither prototypes nor files: there is no phase to compare with")
        return self


class LadderSettings(BaseModel):
    """What is computed on a pick: recipes in order, each from the structure the one before left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    potentials: Mapping[str, PotentialSettings] = Field(
        default_factory=dict, description="levels of your own: ASE calculators by import path. What is named is run"
    )
    level: str = "standard"
    recipes: tuple[Rung, ...] = Field(("relax", "gap"), validate_default=True)
    references: Path | None = Field(
        None, description="energies of the elements at this level, by `materia references`; null: those that ship"
    )
    competing: CompetingSettings | None = Field(
        None, description="on top of all rungs: what meets every condition is validated. null: hits stay computed"
    )

    @field_validator("potentials")
    @classmethod
    def _names(cls, potentials: Mapping[str, PotentialSettings]) -> Mapping[str, PotentialSettings]:
        taken = sorted({*LEVELS, *PRESETS} & set(potentials))
        if taken:
            raise ValueError(f"{', '.join(taken)} is the name of a level that materia has")
        return potentials

    @field_validator("level")
    @classmethod
    def _level_known(cls, name: str, info: ValidationInfo) -> str:
        return _require_level(name, info)

    @field_validator("recipes")
    @classmethod
    def _rungs_fit(cls, rungs: tuple[Rung, ...], info: ValidationInfo) -> tuple[Rung, ...]:
        for rung in rungs:
            name = info.data.get("level", "standard") if rung.level is None else _require_level(rung.level, info)
            if rung.level in LEVELS and rung.level != info.data.get("level"):
                raise ValueError(
                    f"{rung.recipe} at level {name!r}: only a potential has rungs of its own, DFT is at one level"
                )
            if why_not := suits(rung.recipe, electrons=name in LEVELS):
                raise ValueError(f"{rung.recipe} at level {name!r}: {why_not}")
        for place, rung in enumerate(rungs):
            if rung.child == "follows":
                _require_again(rungs[:place], rungs[place + 1 :], info.data.get("level", "standard"))
        return rungs

    @model_validator(mode="after")
    def _phases_are_comparable(self) -> Self:
        if self.competing is not None and self.level not in LEVELS:
            raise ValueError(f"competing phases are compared at a level of DFT, and {self.level!r} is a potential")
        own = {rung.recipe for rung in self.recipes if rung.level in (None, self.level)}
        if self.competing is not None and "relax" not in own:
            raise ValueError(
                f"competing phases are relaxed at level {self.level!r}, and no rung relaxes the candidate there"
            )
        return self

    @property
    def gives(self) -> frozenset[str]:
        """Quantities that are known of a candidate at the top, by the tables and by the rungs."""
        of_rungs = (given_by(r.recipe, electrons=(r.level or self.level) in LEVELS) for r in self.recipes)
        return frozenset({q.SUPPLY_RISK}).union(*of_rungs)

    @property
    def rungs(self) -> tuple[tuple[str, Level], ...]:
        """(recipe, level) from the first on; potentials as this machine has them.

        Raises:
            EngineError: weights that a potential names are not there.
        """
        return tuple((rung.recipe, level(rung.level or self.level, self.potentials)) for rung in self.recipes)

    @property
    def levels(self) -> dict[str, Level]:
        """The levels of all rungs by name, and the ladder's own; errors as of :attr:`rungs`."""
        return {one.name: one for one in (self.own, *(one for _, one in self.rungs))}

    @property
    def own(self) -> Level:
        """The level of the rungs that name none; errors as of :attr:`rungs`."""
        return level(self.level, self.potentials)


def _require_again(below: tuple[Rung, ...], above: tuple[Rung, ...], own: str) -> None:
    """What DFT says of a parent is no label of the child: what is computed only below would be missing in the end."""
    if not above:
        raise ValueError("distorts is the last rung, and no rung follows that the child could be computed on")
    of_parent = {rung.recipe for rung in below if (rung.level or own) in LEVELS}
    missing = sorted(of_parent - {rung.recipe for rung in above if (rung.level or own) in LEVELS})
    if missing:
        raise ValueError(
            f"{', '.join(missing)} below distorts is computed on the parent alone, and the child follows: write it "
            "above as well, or child: stays"
        )


def _require_level(name: str, info: ValidationInfo) -> str:
    known = [*LEVELS, *PRESETS, *info.data.get("potentials", {})]
    if name not in known:
        raise ValueError(f"there is no level {name!r}; known are {', '.join(known)}")
    return name
