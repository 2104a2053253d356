"""Writing so that a SIGKILL or a full disk at any line leaves the old or the new, never half of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from materia.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: "free some space; then start again, nothing is lost",
    errno.EDQUOT: "your quota is used up: free some space; then start again, nothing is lost",
    errno.EACCES: "give yourself permission to write there, or choose another folder",
    errno.EPERM: "give yourself permission to write there, or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of the path is a file: choose another folder",
    errno.EEXIST: "a part of the path is a file: choose another folder",
    errno.EISDIR: "there is a folder of that name: choose another one",
    errno.EIO: "the file system reports an input/output error: check the disk or the network mount",
}


@contextmanager
def storage(path: Path, problem: str) -> Iterator[None]:
    """Turn a full disk, a quota or a missing permission inside the block into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _REMEDIES:
            raise StorageError(
                f"{problem}: {os.strerror(error.errno)}", where=path, remedy=_REMEDIES[error.errno]
            ) from error
        raise


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def dump(value: Any) -> str:
    """Strict JSON: no NaN, no infinity."""
    return json.dumps(value, indent=1, allow_nan=False)


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Publish a folder with all its files at once: temporary folder, fsync, rename.

    A folder that is already there is left as it is: it was published whole.

    Raises:
        StorageError: the disk is full or not writable; nothing is left behind.
    """
    if folder.is_dir():
        return
    temporary = folder.parent / f".{folder.name}.{uuid4().hex}.tmp"
    with storage(folder, "cannot write a job folder"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            for name, text in files.items():
                _write_synced(temporary / name, text)
            fsync_folder(temporary)
            temporary.rename(folder)
            fsync_folder(folder.parent)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and folder.is_dir():
                return
            raise


def link_new(path: Path, text: str) -> bool:
    """Create ``path`` with its whole content, only if it is not there; safe on NFS.

    Returns:
        whether it was this call that created it.

    Raises:
        StorageError: the disk is full or not writable.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    with storage(path, "cannot write a file"):
        try:
            _write_synced(temporary, text)
            with suppress(FileExistsError):
                os.link(temporary, path)
            return temporary.stat().st_nlink == 2  # on NFS the reply may be lost: the count is the truth
        finally:
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str, problem: str = "cannot write a file") -> None:
    """Write or overwrite a file, and make its folder: temporary file, fsync, rename.

    Args:
        problem: how the error begins.

    Raises:
        StorageError: the disk is full or not writable; what was there is left as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    with storage(path, problem):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_synced(temporary, text)
            temporary.replace(path)
            fsync_folder(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no file or no whole JSON object in it."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def tail(path: Path, limit: int = 2000) -> str:
    """The last characters of a log file, or an empty text."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - limit))
            return stream.read().decode("utf-8", errors="replace").strip()
    except OSError:
        return ""
