"""What several verbs read: settings by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from materia.errors import ConfigError


def assignments(texts: list[str]) -> dict[str, Any]:
    """NAME=VALUE, the value as YAML reads it.

    Raises:
        ConfigError: no equals sign.
    """
    import yaml

    for text in texts:
        if "=" not in text:
            raise ConfigError(f"{text!r} sets nothing", remedy="write NAME=VALUE")
    return {name.strip(): yaml.safe_load(value) for name, _, value in (text.partition("=") for text in texts)}


def settings_file(path: Path | None) -> dict[str, Any]:
    """Names and values of a YAML file; nothing where there is none.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    import yaml

    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"the settings cannot be read: {error}", where=path) from error
    if not isinstance(content, dict):
        raise ConfigError("these are no settings", where=path, remedy="write one NAME: VALUE a line")
    return content
