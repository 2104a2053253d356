"""One driver per campaign, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from materia.compute import DriverLock
from materia.errors import CampaignLockedError

HOLD = """
import sys, time
from pathlib import Path
from materia.compute import DriverLock
with DriverLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""
TRY = """
import sys, time
from pathlib import Path
from materia.compute import DriverLock
from materia.errors import CampaignLockedError
folder = Path(sys.argv[1])
print("ready", flush=True)
while not (folder / "go").exists():
    time.sleep(0.001)
try:
    with DriverLock(folder) as lock:
        while not (folder / "end").exists():
            time.sleep(0.01)
        lock.check()
        print("held")
except CampaignLockedError:
    print("refused")
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_driver_is_told_who_and_since_when(tmp_path: Path) -> None:
    first = holder(tmp_path)
    try:
        with pytest.raises(CampaignLockedError) as caught, DriverLock(tmp_path):
            pass
        assert f"process {first.pid} on {os.uname().nodename}, since 20" in str(caught.value)
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()


def test_free_again_after_a_normal_end(tmp_path: Path) -> None:
    for _ in range(2):
        with DriverLock(tmp_path):
            assert (tmp_path / "lock").exists()
        assert not (tmp_path / "lock").exists()


def test_lock_of_a_killed_driver_is_taken_over_at_once(tmp_path: Path) -> None:
    first = holder(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    started = time.monotonic()
    with DriverLock(tmp_path) as lock:
        lock.check()
    assert time.monotonic() - started < 5


def test_one_of_many_takes_a_stale_lock_over(tmp_path: Path) -> None:
    first = holder(tmp_path)
    first.kill()
    first.wait()

    command = [sys.executable, "-c", TRY, str(tmp_path)]
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    assert [driver.stdout.readline() for driver in drivers] == ["ready\n"] * 5
    (tmp_path / "go").touch()
    deadline = time.monotonic() + 30
    while sum(driver.poll() is None for driver in drivers) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    (tmp_path / "end").touch()
    assert sorted(driver.communicate(timeout=30)[0] for driver in drivers) == ["held\n"] + ["refused\n"] * 4


def test_a_reused_process_number_is_not_the_holder(tmp_path: Path) -> None:
    record = {"token": "t", "host": os.uname().nodename, "pid": os.getpid(), "identity": "boot:1:1", "started": 0}
    (tmp_path / "lock").write_text(json.dumps(record))
    with DriverLock(tmp_path) as lock:
        lock.check()


def test_other_host_only_after_the_stated_time(tmp_path: Path) -> None:
    record = {"token": "t", "host": "login2", "pid": 1, "identity": "x", "started": time.time()}
    (tmp_path / "lock").write_text(json.dumps(record))
    with pytest.raises(CampaignLockedError, match="process 1 on login2"), DriverLock(tmp_path, stale_s=60):
        pass
    os.utime(tmp_path / "lock", (time.time() - 61,) * 2)
    with DriverLock(tmp_path, stale_s=60) as lock:
        lock.check()


def test_heartbeat_and_a_lock_that_was_lost(tmp_path: Path) -> None:
    with DriverLock(tmp_path, heartbeat_s=0.05) as lock:
        os.utime(tmp_path / "lock", (0, 0))
        deadline = time.monotonic() + 30
        while not (tmp_path / "lock").stat().st_mtime:  # until a heartbeat was written
            assert time.monotonic() < deadline
            time.sleep(0.05)
        record = {"token": "t", "host": "login2", "pid": 1, "identity": "x", "started": time.time()}
        (tmp_path / "lock").write_text(json.dumps(record))
        with pytest.raises(CampaignLockedError, match="login2"):
            lock.check()
    assert (tmp_path / "lock").exists()  # it is the other's now
