"""What a training is to be: written into the model folder before anything is done, read again by whoever goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from materia import files
from materia.data import source_digest
from materia.errors import ConfigError
from materia.quantities import Form, Quantity, declare, parse_quantity, quantity, quantity_record
from materia.surrogate import SurrogateSettings

FILE = "train.json"
WHERE = ("device", "devices", "threads", "checkpoint_every")  # may change when a training goes on


class TrainingRequest(BaseModel):
    """A training in full: the same request gives the same model.

    Attributes:
        data: file or folder, absolute.
        data_sha256: of its content when the training was asked for.
        targets: quantity -> column of the data.
        quantities: entries of :func:`materia.quantities.declare` of targets that are not registered.
        seed: of folds, weights and batches.
        settings: of the surrogate; ``pretrained`` is where the weights begin.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    data: str
    data_sha256: str
    targets: dict[str, str] = Field(min_length=1)
    quantities: dict[str, dict[str, Any]] = {}
    seed: int = Field(0, ge=0)
    settings: SurrogateSettings

    @property
    def declared(self) -> tuple[Quantity, ...]:
        return tuple(declare(name, **entries) for name, entries in self.quantities.items())

    @property
    def forms(self) -> dict[str, Form]:
        """By target, what its values are."""
        own = {q.name: q for q in self.declared}
        return {name: (own[name] if name in own else quantity(name)).form for name in self.targets}

    def essence(self) -> dict[str, Any]:
        """What the model depends on, as JSON: not where it is trained, nor where the data lie."""
        settings = self.settings.model_dump(exclude=set(WHERE))
        return {**self.model_dump(mode="json", exclude={"data", "settings"}), "settings": settings}

    def elsewhere(self, settings: SurrogateSettings) -> TrainingRequest:
        """The same training on another device: of the settings, those that were given and say where it runs.

        Raises:
            ConfigError: another one was given, and differs.
        """
        given = {name: getattr(settings, name) for name in settings.model_fields_set}
        changed = [k for k, v in given.items() if k not in WHERE and v != getattr(self.settings, k)]
        if changed:
            raise ConfigError(
                f"a training that goes on cannot change {', '.join(changed)}", remedy="train into another folder"
            )
        where = {name: value for name, value in given.items() if name in WHERE}
        return self.model_copy(update={"settings": self.settings.model_copy(update=where)})

    def check_data(self) -> None:
        """Refuse data that are not those the training was asked for with.

        Raises:
            ConfigError: they have changed.
            DatasetError: they cannot be read.
        """
        if source_digest(self.data) != self.data_sha256:
            raise ConfigError(
                "the data have changed since the training was started",
                where=self.data,
                remedy="restore them, or train into another folder",
            )


_FROM_RANDOM = {"epochs": 100, "learning_rate": 4e-3}  # the defaults are for fine-tuning


def make_settings(entries: Mapping[str, Any], start: str | Path | None = "base") -> SurrogateSettings:
    """Settings of a training by name. What is not given suits the start; a checkpoint is written every epoch.

    Args:
        entries: by name in :class:`materia.surrogate.SurrogateSettings`; text is converted.

    Raises:
        ConfigError: no such setting, or a value that does not fit.
    """
    defaults = {"checkpoint_every": 1, **(_FROM_RANDOM if start is None else {})}
    try:
        return SurrogateSettings.model_validate({**defaults, **entries})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        near = get_close_matches(key, SurrogateSettings.model_fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near and near[0] != key else ""
        raise ConfigError(
            f"setting {key!r}: {first['msg']} (given: {first['input']!r})",
            remedy=f"{hint}settings are: {', '.join(SurrogateSettings.model_fields)}",
        ) from error


def make_request(
    data: str | Path,
    targets: Sequence[str] | Mapping[str, str],
    *,
    quantities: Sequence[Quantity | str] = (),
    start: str | Path | None = "base",
    settings: SurrogateSettings | None = None,
    seed: int = 0,
) -> TrainingRequest:
    """A checked request; arguments as :func:`materia.train`.

    Raises:
        ConfigError: no target, one that is neither registered nor declared, a start that is none, or none for a process
            that needs one.
        DatasetError: the data are not there.
    """
    columns = dict(targets) if isinstance(targets, Mapping) else dict(_target(text) for text in targets)
    if not columns:
        raise ConfigError("no target is given", remedy="name one: --target gap_pbe, or NAME=COLUMN")
    declared = {q.name: q for q in (parse_quantity(q) if isinstance(q, str) else q for q in quantities)}
    for name in columns:
        if name not in declared:
            _known(name)
    if start is not None and str(start) != "base":
        start = Path(start).absolute()
        if not (start / "card.json").is_file():
            raise ConfigError(f"no model to start from: {start}", remedy="give base, none or a model folder")
    asked = settings or SurrogateSettings()
    if start is None and asked.readout == "gaussian_process":
        raise ConfigError(
            "readout: gaussian_process reads out trained networks, and the start is none",
            remedy="start from base (the shipped weights) or a model folder, or leave readout out: network",
        )
    path = Path(data).absolute()
    return TrainingRequest(
        data=str(path),
        data_sha256=source_digest(path),
        targets=columns,
        quantities={name: quantity_record(q) for name, q in declared.items() if name in columns},
        seed=seed,
        settings=asked.model_copy(update={"pretrained": None if start is None else str(start)}),
    )


def _target(text: str) -> tuple[str, str]:
    name, _, column = text.partition("=")
    return name.strip(), column.strip() or name.strip()


def _known(name: str) -> None:
    try:
        quantity(name)
    except ConfigError as error:
        raise ConfigError(
            f"{name!r} is neither a registered quantity nor declared",
            remedy=f'declare it: --quantity "{name}:UNIT:intensive"; or {error.remedy}',
        ) from None


def read_request(folder: Path) -> TrainingRequest | None:
    """The request in a model folder, or None where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    path = folder / FILE
    try:
        return TrainingRequest.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise ConfigError(f"the request cannot be read: {error}", where=path) from error


def write_request(folder: Path, request: TrainingRequest) -> None:
    """Write the intent, whole or not at all."""
    text = json.dumps(request.model_dump(mode="json"), indent=1) + "\n"
    files.write_whole(folder / FILE, text, "the model folder cannot be written")


def read_quantities(path: Path) -> list[Quantity]:
    """Declarations in a YAML file: ``name: {unit: GPa, kind: intensive, lower: 0}``, with ``form`` where no scalar.

    Raises:
        ConfigError: it cannot be read, or an entry is not one of those.
    """
    try:
        content = yaml.safe_load(path.read_text())
        return [declare(name, **entries) for name, entries in content.items()]
    except (OSError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"declares no quantities: {error}",
            where=path,
            remedy="write one a line: name: {unit: GPa, kind: intensive, lower: 0, title: ...}",
        ) from error
