"""Files that people write: YAML read, and what is wrong with it said so that they can act on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from materia.errors import ConfigError


def read_mapping(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: of the file.
        what: it is, as in ``campaign``.
        remedy: where to look when it holds something else.

    Raises:
        ConfigError: it cannot be read, is not YAML or holds no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", where=path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=path) from error
    if not isinstance(content, dict):
        raise ConfigError(f"a {what} file holds a mapping", where=path, remedy=remedy)
    return content


def rooted(given: str, file: Path) -> str:
    """A path written in a file, relative to that file and not to where it is read."""
    return given if Path(given).is_absolute() else str((file.parent / given).resolve())


def explained(error: ValidationError, model: type[BaseModel], where: str | Path, see: str = "") -> ConfigError:
    """The first thing that is wrong, with its key and what to do.

    Args:
        error: of the validation.
        model: the whole file's model, whose valid keys are told.
        where: the file.
        see: the page that describes it.
    """
    first: Mapping[str, Any] = error.errors()[0]
    location = [part for part in first["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location) or "(top level)"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        valid = _valid_keys(model, location[:-1])
        near = get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return ConfigError(f"unknown key {key!r}{more}", where=where, remedy=f"{hint}valid here: {', '.join(valid)}")
    if first["type"] == "missing":
        return ConfigError(f"the key {key!r} is missing{more}", where=where, remedy="add it")
    given = first.get("input")
    shown = f" (given: {given!r})" if not isinstance(given, (dict, list)) else ""
    remedy = f"correct {key!r}" + (f"; see {see}" if see else "")
    return ConfigError(f"{key}: {first['msg']}{shown}{more}", where=where, remedy=remedy)


def _valid_keys(model: Any, location: Sequence[Any]) -> list[str]:
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
