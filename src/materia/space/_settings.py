"""What a campaign file says about its chemical space."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from materia.crystal import atomic_number
from materia.elements import closed_shell_charges, group, groups
from materia.errors import ElementError
from materia.space._prototypes import prototype


class SpaceSettings(BaseModel):
    """Which candidates there are.

    Attributes:
        elements: symbols to draw from; all elements with a closed-shell ion if left out.
        exclude: groups (``toxic``, ``scarce``, ``open_shell``, ``radioactive``, ``noble_gas``) and symbols to
            leave out.
        prototypes: names to build on; all with two roles or more if left out; ``[]`` for files alone.
        arity: numbers of elements a candidate may have.
        max_atoms: atoms in the primitive cell, at most.
        files: the user's own structures (CIF, POSCAR, extxyz, JSON): files, folders or patterns. A file named here must
            be good; bad ones found in a folder or by a pattern are quarantined.

    Raises:
        ElementError: a symbol or group that does not exist, or an element asked for that cannot be used.
        SpaceError: an unknown prototype.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    elements: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ("toxic", "scarce", "open_shell")
    prototypes: tuple[str, ...] | None = None
    arity: tuple[int, ...] = Field(default=(2, 3), min_length=1)
    max_atoms: int = Field(default=8, ge=1)
    files: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        for symbol in self.elements or ():
            _check_symbol(symbol, "space.elements")
            if self.prototypes != () and not closed_shell_charges(symbol):
                raise ElementError(
                    f"{symbol} has no common closed-shell ion, so no candidate can be built with it",
                    where="space.elements",
                    remedy=f"leave {symbol} out, or give its compounds as files",
                )
        for entry in self.exclude:
            if entry not in groups():
                _check_symbol(entry, "space.exclude", also=tuple(groups()))
        for name in self.prototypes or ():
            prototype(name)
        return self

    @property
    def excluded(self) -> dict[str, frozenset[str]]:
        """Entry of ``exclude`` -> the symbols it removes, in order."""
        return {e: frozenset(group(e).symbols) if e in groups() else frozenset([e]) for e in self.exclude}


def _check_symbol(symbol: str, key: str, also: tuple[str, ...] = ()) -> None:
    try:
        atomic_number(symbol)
    except ElementError as error:
        near = get_close_matches(symbol, also, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else error.remedy
        what = f"{symbol!r} is neither an element nor a group" if also else error.what
        raise ElementError(what, where=key, remedy=remedy) from None
