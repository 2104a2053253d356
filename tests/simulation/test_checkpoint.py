"""A relaxation that is killed goes on where it was, and ends where it would have ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from materia.compute import JobManager, LocalBackend
from materia.compute.testing import open_ledger
from materia.crystal import Crystal
from materia.simulation import ROUGH, engine, make_job
from materia.simulation._checkpoint import CHECKPOINT, Remembering, carry_over


class Counting(LennardJones):
    """A calculator that knows how often it was asked, and can be cut off."""

    asked = 0
    allowed = 1000

    def calculate(self, *arguments, **options):
        self.asked += 1
        if self.asked > self.allowed:
            raise KeyboardInterrupt
        super().calculate(*arguments, **options)


def argon(folder: Path, allowed: int = 1000) -> tuple[Atoms, Counting, int]:
    atoms = bulk("Ar", a=5.0, cubic=True)
    atoms.positions[0] += 0.1
    inner = Counting(sigma=3.4, epsilon=0.0104, rc=8.0)
    inner.allowed = allowed
    atoms.calc = Remembering(inner, folder)
    optimiser = BFGS(FrechetCellFilter(atoms), logfile=None)
    with contextlib.suppress(KeyboardInterrupt):
        optimiser.run(fmax=1e-4, steps=60)
    return atoms, inner, optimiser.nsteps


def test_the_replayed_path_is_the_same_path(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()
    undisturbed, inner, steps = argon(whole)
    argon(halves, allowed=4)
    assert len(json.loads((halves / CHECKPOINT).read_text())) == 4
    resumed, rest, steps_resumed = argon(halves)
    assert steps_resumed == steps
    assert rest.asked == inner.asked - 4
    assert np.array_equal(resumed.positions, undisturbed.positions)  # bit for bit
    assert resumed.get_potential_energy() == undisturbed.get_potential_energy()


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    _, inner, _ = argon(tmp_path)
    text = (tmp_path / CHECKPOINT).read_text()
    (tmp_path / CHECKPOINT).write_text(text[: len(text) // 2])
    _, again, _ = argon(tmp_path)
    assert again.asked == inner.asked


def test_carry_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    monkeypatch.setenv("MATERIA_PREVIOUS_ATTEMPT", str(first))
    assert carry_over(second) == 0
    argon(first, allowed=2)
    assert carry_over(second) == 2
    assert (second / CHECKPOINT).read_text() == (first / CHECKPOINT).read_text()
    assert carry_over(second) == 0  # its own is there


@pytest.mark.gpaw
def test_killed_relaxation_goes_on(tmp_path: Path) -> None:
    """A real GPAW relaxation, SIGKILLed after its second geometry; the next attempt does not solve those again."""
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    spec = make_job("relax", Crystal.from_ase(bulk("LiH", "rocksalt", a=3.6)), ROUGH)
    manager = JobManager(open_ledger(tmp_path), LocalBackend(cores=1), tmp_path)
    manager.ledger.add(spec)
    first = tmp_path / "jobs" / spec.key / "1"
    deadline = time.monotonic() + 300
    killed = False
    while manager.active:
        assert time.monotonic() < deadline
        manager.advance()
        time.sleep(0.02)
        if not killed and (first / CHECKPOINT).exists() and len(json.loads((first / CHECKPOINT).read_text())) == 2:
            os.kill(json.loads((first / "running.json").read_text())["pid"], signal.SIGKILL)
            killed = True
    outcome = manager.ledger.outcome(spec.key)
    assert killed
    assert outcome is not None
    assert outcome.ok, outcome.message
    assert outcome.attempt == 2
    taken = outcome.provenance["geometries_taken_over"]
    assert taken >= 2
    folder = tmp_path / outcome.folder
    known = len(json.loads((folder / CHECKPOINT).read_text()))
    assert (folder / "relax.txt").read_text().count("Converged") == known - taken
