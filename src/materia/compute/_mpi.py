"""Jobs of several ranks: how their program is launched, and which requests make sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from materia.record import Resources

LAUNCH: Final = "{launch}"
"""Word in a job's ``argv``: the launcher is put in this place instead of before the program, which starts the ranks of
another program itself."""

SRUN: Final = ("srun", "--kill-on-bad-exit=1", "--ntasks={ranks}", "--cpus-per-task={threads}")


class Mpi(BaseModel):
    """What starts a program on several ranks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    launch: tuple[str, ...] = Field(
        default=SRUN,
        min_length=1,
        description="put before the program of a job of several ranks; {ranks} and {threads} (cores of each) are filled"
        " in. One rank that fails must end the others (srun --kill-on-bad-exit=1)",
    )

    @field_validator("launch")
    @classmethod
    def _fillable(cls, launch: tuple[str, ...]) -> tuple[str, ...]:
        for word in launch:
            try:
                word.format(ranks=1, threads=1)
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"{word!r} holds braces other than {{ranks}} and {{threads}}") from error
        return launch

    def command(self, argv: Sequence[str], resources: Resources | None) -> list[str]:
        """The program under its launcher, or with it in the place of ``LAUNCH``; without one where one rank runs it."""
        launch: list[str] = []
        if resources is not None and resources.ranks > 1:
            launch = [word.format(ranks=resources.ranks, threads=resources.threads) for word in self.launch]
        if LAUNCH not in argv:
            return launch + list(argv)
        place = list(argv).index(LAUNCH)
        return [*argv[:place], *launch, *argv[place + 1 :]]


def misfit(resources: Resources) -> str:
    """Why no machine can lay these ranks out; empty if one could."""
    if resources.ranks < 1 or resources.cores % resources.ranks:
        return f"it asks for {resources.cores} cores for {resources.ranks} ranks: not the same number for each"
    return ""
