"""Fixtures every room may use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from materia.compute import Site
from materia.resources import resource


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Where several processes share the tests, a file's stay together (its fixtures are made once), and so do all files
    that use the Slurm cluster, of which a machine has one."""
    return _Scheduling(config, log)


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "slurm" if _on_slurm(self.config.rootpath / file) else file


@cache
def _on_slurm(file: Path) -> bool:
    return "slurm_site" in file.read_text()


@pytest.fixture(scope="session")
def slurm_site() -> Iterator[Site]:
    """A real Slurm with the profile ``dev``: the one that is up, or the test cluster, started here and stopped again.

    Settings for it: ``ComputeSettings(backend="slurm", site="dev")``. Skips with a plain reason where there is
    none and none may be started.
    """
    script = str(resource("slurm/dev-cluster.sh"))
    if _answers():
        yield Site.load("dev")
        return
    check = subprocess.run([script, "check"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        pytest.skip(f"no Slurm here, and none can be started: {check.stderr.strip()}")
    shown = subprocess.run([script, "env"], capture_output=True, text=True, check=True).stdout
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = shown.strip().removeprefix("export SLURM_CONF=")
    was_up = _answers()
    try:
        up = subprocess.run([script, "up"], capture_output=True, text=True, check=False, timeout=600)
        if up.returncode != 0:
            if "could not install" in up.stderr:
                pytest.skip(f"no Slurm here, and it cannot be installed: {up.stderr.strip()[-500:]}")
            pytest.fail(f"the test cluster does not start: {up.stderr[-2000:]}")
        yield Site.load("dev")
    finally:
        if not was_up:
            subprocess.run([script, "down"], capture_output=True, check=False, timeout=120)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def _answers() -> bool:
    if "SLURM_CONF" not in os.environ:
        return False
    try:
        return subprocess.run(["sinfo", "-h"], capture_output=True, check=False, timeout=30).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
