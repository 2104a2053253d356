"""The short form of the benchmark that breaks everything: drivers, sbatch's replies, the controller, a node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from materia.compute import Site

RUN = Path(__file__).parents[2] / "experiments" / "benchmarks" / "exactly_once" / "run.py"


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.gpaw
def test_every_job_exactly_once(slurm_site: Site) -> None:
    done = subprocess.run([sys.executable, RUN, "--quick"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["kills"] >= 10
    assert (figures["controller_kills"], figures["node_kills"]) == (1, 1)
    assert (figures["lost"], figures["twice"], figures["published_twice"], figures["stuck"]) == (0, 0, 0, 0)
    assert figures["matches_undisturbed"], figures["different"]
