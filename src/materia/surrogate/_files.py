"""Model files: ``weights.safetensors`` and ``card.json``, tied together by a digest. Never pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from materia.errors import ModelError, StorageError

FORMAT = "materia-surrogate"
VERSION = 1
WEIGHTS, CARD = "weights.safetensors", "card.json"


def write_model(folder: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> dict[str, Any]:
    """Write both files by rename, the card last; returns the card with format, version and digest.

    Raises:
        StorageError: the folder cannot be written.
    """
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    full = {
        "format": FORMAT,
        "version": VERSION,
        **card,
        "weights_sha256": hashlib.sha256(data).hexdigest(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _publish(folder / WEIGHTS, data)
        _publish(folder / CARD, _one_key_a_line(full).encode())
    except OSError as error:
        raise StorageError(
            f"the model cannot be written: {error.strerror or error}",
            where=folder,
            remedy="free space or choose a folder you may write",
        ) from error
    return full


def read_model(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and card of a model folder.

    Raises:
        ModelError: a file is missing or damaged, or the two do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = read_card(folder)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the weights cannot be read: {error.strerror or error}",
            where=path,
            remedy="a model is a folder with weights.safetensors and card.json",
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != card["weights_sha256"]:
        raise ModelError(
            f"the weights do not match their card: SHA-256 is {digest[:12]}…, "
            f"the card says {str(card['weights_sha256'])[:12]}…",
            where=path,
            remedy="the file is damaged or from another model: copy the folder again or retrain",
        )
    try:
        return load(data), card
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"the weights are no safetensors file: {error}", where=path) from error


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder.

    Raises:
        ModelError: it is missing, no JSON, or the card of something else.
    """
    path = folder / CARD
    try:
        card = json.loads(path.read_text())
    except OSError as error:
        raise ModelError(
            f"no model card: {error.strerror or error}",
            where=path,
            remedy="a model is a folder with weights.safetensors and card.json",
        ) from error
    except ValueError as error:
        raise ModelError(
            f"the model card is damaged: {error}", where=path, remedy="copy the folder again or retrain"
        ) from error
    needed = ("format", "version", "targets", "architecture", "members", "calibration", "weights_sha256")
    missing = [key for key in needed if not isinstance(card, dict) or key not in card]
    if missing or card["format"] != FORMAT:
        raise ModelError(f"not the card of a surrogate: {', '.join(missing) or 'format'} missing or wrong", where=path)
    if card["version"] != VERSION:
        raise ModelError(
            f"model format {card['version']}, this version of materia reads {VERSION}",
            where=path,
            remedy="retrain the model or install the version of materia that wrote it",
        )
    return dict(card)


def _one_key_a_line(card: Mapping[str, Any]) -> str:
    """JSON that people can read and ``diff`` can compare, without a line for every number."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in card.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _publish(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
