"""The tiny campaign, run as a user would: by the command line, in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from materia.record import CampaignRecord, load_campaign
from materia.resources import resource


@dataclass(frozen=True)
class Tiny:
    """How to start the tiny campaign.

    Attributes:
        file: its campaign file.
        folder: where it runs.
    """

    file: Path
    folder: Path

    def start(self) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "materia.cli", "run", str(self.file), "--folder", str(self.folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def finish(self, timeout_s: float = 900) -> CampaignRecord:
        process = self.start()
        output, _ = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, output
        return load_campaign(self.folder)


def tiny(folder: Path, **changes: object) -> Tiny:
    """The shipped tiny campaign with some settings replaced."""
    content = yaml.safe_load(resource("experiments/tiny.yaml").read_text())
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(content))
    return Tiny(file, folder / "run")


def essence(record: CampaignRecord) -> list[dict[str, object]]:
    """What must not depend on what happened on the way: picks, their predictions, and labels."""
    return [
        {
            "place": (pick.round, pick.slot),
            "candidate": pick.candidate_id,
            "state": pick.state.value,
            "reason": pick.reason,
            "predictions": {q: {k: round(v, 6) for k, v in found.items()} for q, found in pick.predictions.items()},
            "labels": {label.quantity: round(label.value, 6) for label in pick.labels},
        }
        for found in record.rounds
        for pick in found.picks
    ]


def calculations(folder: Path) -> dict[str, int]:
    """Job key -> attempts whose program was started (counted from the job folders)."""
    return {job.name: len([p for p in job.iterdir() if p.name.isdigit()]) for job in (folder / "jobs").iterdir()}
