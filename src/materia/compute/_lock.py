"""One driver per campaign: a lock file with a heartbeat, safe on a network file system."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from materia import files
from materia.compute import launcher
from materia.errors import CampaignLockedError

HEARTBEAT_S: Final = 10.0
STALE_S: Final = 300.0  # without a heartbeat from another host


class DriverLock:
    """Holds ``folder/lock`` while the block runs; a second driver is refused with who holds it and since when.

    The file is created whole by link, which is atomic on NFS too. It is touched every ``heartbeat_s``. A lock
    whose process is dead on this host is taken over at once; one of another host after ``stale_s`` without
    a heartbeat. Take-overs are serialised by a lock on ``lock.guard``, and whoever loses the last race sees
    another's name in the file.

    Raises:
        CampaignLockedError: another driver holds it.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, heartbeat_s: float = HEARTBEAT_S, stale_s: float = STALE_S) -> None:
        self.path = Path(folder) / "lock"
        self._heartbeat_s, self._stale_s = heartbeat_s, stale_s
        self._token = uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = False

    def __enter__(self) -> Self:
        record = files.dump(
            {
                "token": self._token,
                "host": launcher.host(),
                "pid": os.getpid(),
                "identity": launcher.process_identity(os.getpid()),
                "started": time.time(),
            }
        )
        if not files.link_new(self.path, record):
            with self._guard():
                self._take_over(record)
        self._thread = threading.Thread(target=self._beat, name="materia-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._holder().get("token") == self._token:
            self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise :class:`CampaignLockedError` if another driver has taken the lock over (this one was stopped)."""
        if self._lost or self._holder().get("token") != self._token:
            raise CampaignLockedError(
                f"another driver took this campaign over: {_describe(self._holder())}",
                where=self.path,
                remedy="let that one finish; this one has stopped",
            )

    def _take_over(self, record: str) -> None:
        if files.link_new(self.path, record):
            return
        holder = self._holder()
        if not self._is_dead(holder):
            raise CampaignLockedError(
                f"another driver holds this campaign: {_describe(holder)}",
                where=self.path,
                remedy="wait for it or end it; if it ran on another host and that is gone, "
                f"the lock is free {self._stale_s:.0f} s after its last heartbeat",
            )
        files.write_whole(self.path, record)
        if self._holder().get("token") != self._token:
            raise CampaignLockedError(f"another driver was quicker: {_describe(self._holder())}", where=self.path)

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        if holder.get("host") == launcher.host():
            return launcher.process_identity(int(holder["pid"])) != str(holder["identity"])
        try:
            return time.time() - self.path.stat().st_mtime > self._stale_s
        except FileNotFoundError:
            return True

    def _holder(self) -> dict[str, Any]:
        return files.read_object(self.path) or {}

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat_s):
            if self._holder().get("token") != self._token:
                self._lost = True
                return
            with contextlib.suppress(OSError):
                os.utime(self.path)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        guard = self.path.with_name("lock.guard")
        with files.storage(guard, "cannot lock the campaign"), guard.open("a") as stream:
            with contextlib.suppress(OSError):  # a network file system without locks: the last look decides
                fcntl.lockf(stream, fcntl.LOCK_EX)
            yield


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "the lock file cannot be read"
    since = datetime.datetime.fromtimestamp(holder["started"], datetime.UTC).isoformat(timespec="seconds")
    return f"process {holder['pid']} on {holder['host']}, since {since}"
