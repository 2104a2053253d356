"""An Optuna journal that survives being killed: locks the kernel releases, torn lines cut, full disks said."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study

from materia.errors import CampaignError, StorageError

_GRACE_S = 3  # Optuna's own lock of a killed process is broken after this long


class _Lock:
    """A kernel lock among our processes, and inside it Optuna's own, for the dashboard and others.

    Optuna's lock outlives a killed process; since the kernel's does not, whoever holds the kernel lock meets
    only leftovers there, or a foreign writer that is done within milliseconds.
    """

    def __init__(self, path: Path) -> None:
        self._kernel = FileLock(f"{path}.flock")
        self._optuna = JournalFileSymlinkLock(str(path), grace_period=_GRACE_S)

    def __enter__(self) -> None:
        self._kernel.acquire()
        try:
            self._optuna.acquire()
        except BaseException:
            self._kernel.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._optuna.release()
        finally:
            self._kernel.release()


class _Journal(JournalFileBackend):  # type: ignore[misc]
    """Optuna's journal file; an append either stands complete or leaves no trace."""

    def __init__(self, path: Path) -> None:
        self._own = _Lock(path)
        self._where = path
        super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            with self._own:
                _cut_torn_line(self._where)
                _append(self._where, data)
        except OSError as error:
            raise StorageError(
                f"cannot write the study: {error.strerror}",
                where=self._where,
                remedy="free space or permissions, then run again: nothing is lost",
            ) from error


def _append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            if (written := file.write(data)) != len(data):
                raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes fit")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _cut_torn_line(path: Path) -> None:
    """Drop an unfinished last line, left by a writer that was killed; call with the lock held."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        logging.getLogger(__name__).warning("%s: cut %d bytes of an unfinished line", path, end - whole)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(path: Path, name: str, losses: tuple[str, ...], sampler: optuna.samplers.BaseSampler) -> Study:
    """The study in a journal file, created where it is missing; every objective is minimised.

    Args:
        path: the journal; its folder must exist.
        name: the study's name.
        losses: names of the objectives' losses.

    Raises:
        StorageError: the file cannot be opened.
        CampaignError: the study exists with another set of objectives, or the journal cannot be read.
    """
    try:
        storage = JournalStorage(_Journal(path))
    except OSError as error:
        raise StorageError(
            f"cannot open the study: {error.strerror}", where=path, remedy="check folder and permissions"
        ) from error
    except ValueError as error:  # json.JSONDecodeError included
        raise CampaignError(
            f"the study's journal is damaged: {error}",
            where=path,
            remedy="move the file away and run again: the study is rebuilt from the campaign's database",
        ) from error
    with _quiet():
        if name in optuna.study.get_all_study_names(storage):
            study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        else:
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                sampler=sampler,
                directions=["minimize"] * len(losses),
                load_if_exists=True,
            )
    named = study.user_attrs.get("losses")
    if named is None:
        study.set_user_attr("losses", list(losses))
    elif tuple(named) != losses:
        raise CampaignError(
            f"study {name!r} was made for {', '.join(named)}, not for {', '.join(losses)}",
            where=path,
            remedy="start a new campaign for other objectives",
        )
    return study
