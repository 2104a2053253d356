"""Headless Chromium for tests that look at a page."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
)


@dataclass(frozen=True)
class Seen:
    """What Chromium made of a page: the document after its scripts ran, console lines, a screenshot."""

    dom: str
    console: list[str]
    screenshot: Path


def chromium() -> str:
    """Path of the browser; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    return found


def look(url: str, screenshot: Path, *, width: int = 1280, height: int = 900, wait_ms: int = 4000) -> Seen:
    """Open a page once for its document and once for its picture."""
    shown = _run(url, width, height, wait_ms, "--dump-dom")
    drawn = _run(url, width, height, wait_ms, f"--screenshot={screenshot}")
    console = [line for p in (shown, drawn) for line in p.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(shown.stdout, console, screenshot)


def _run(url: str, width: int, height: int, wait_ms: int, action: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        command = [
            chromium(),
            *_SWITCHES,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--virtual-time-budget={wait_ms}",
            action,
            url,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
