"""What a search of settings is to be: written into its folder, read again by every process that shares it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from materia import files
from materia.campaign._request import TrainingRequest, make_request
from materia.campaign._tune_space import Dimension, default_space, read_dimension
from materia.errors import ConfigError
from materia.quantities import Quantity
from materia.surrogate import SurrogateSettings

FILE = "tune.json"


class TuneRequest(BaseModel):
    """A search in full.

    Attributes:
        training: data, targets and the settings that are not searched.
        space: setting -> what it may be.
        folds: of the formulas; a trial's score is the mean over them.
        trials: how many end the search, pruned ones included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    training: TrainingRequest
    space: dict[str, Dimension]
    folds: int = Field(ge=2, le=20)
    trials: int = Field(ge=1)

    def settings_of(self, chosen: Mapping[str, Any]) -> SurrogateSettings:
        """One network a fold: the rest of a twentieth is left to calibrate on, which is not used here."""
        entries = {**self.training.settings.model_dump(), **chosen, "members": 1, "folds": 20}
        return SurrogateSettings.model_validate(entries)


def settle(
    folder: Path,
    data: str | Path | None,
    targets: Sequence[str] | Mapping[str, str],
    quantities: Sequence[Quantity | str],
    start: str | Path | None,
    settings: SurrogateSettings | None,
    search: Sequence[str],
    trials: int,
    folds: int,
    seed: int,
) -> TuneRequest:
    """What is searched in a folder: as asked, or as it was; only the number of trials may change.

    Raises:
        ConfigError: nothing is asked for and nothing is there, the two differ, or something does not fit.
        DatasetError: the data are not there.
    """
    there = read_tune_request(folder)
    if data is None:
        if there is None:
            raise ConfigError("no data are given", where=folder, remedy="start a search: --data FILE --target NAME")
        asked = there.model_copy(update={"trials": trials})
    else:
        training = make_request(data, targets, quantities=quantities, start=start, settings=settings, seed=seed)
        fixed = [] if settings is None else sorted(settings.model_fields_set)
        space = dict(map(read_dimension, search)) or default_space(training.settings.pretrained, fixed)
        asked = TuneRequest(training=training, space=space, folds=folds, trials=trials)
        if there is not None and asked.model_copy(update={"trials": there.trials}) != there:
            raise ConfigError("the folder holds another search", where=folder, remedy="choose another folder")
    asked.training.check_data()
    asked.settings_of({})
    files.write_whole(folder / FILE, json.dumps(asked.model_dump(mode="json"), indent=1) + "\n")
    return asked


def read_tune_request(folder: Path) -> TuneRequest | None:
    """The search in a folder, or None where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return TuneRequest.model_validate_json((folder / FILE).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigError(f"the search cannot be read: {error}", where=folder / FILE) from error
