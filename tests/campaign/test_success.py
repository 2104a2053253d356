"""A campaign learns from its failures: which of them count, and what they do to the picks of the rounds after."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from instant_campaign import Instant, instant
from materia.campaign._loop import open_driver
from materia.campaign._success import Successes
from materia.data import Dataset
from materia.record import OutcomeKind, PickState
from materia.report._words import score_part
from materia.resources import resource

ROUNDS, BATCH = 4, 8


def fail(run: Instant, elements: set[str], reason: str = "not_converged") -> None:
    """The relaxations of all candidates with one of these elements fail."""
    elements_of = by_key(run)
    for path in run.folder.parent.glob("store/jobs/*/1/result.json"):
        result = json.loads(path.read_text())
        if "prototype_kept" in result["values"] and set(elements_of[result["key"]]) & elements:
            path.write_text(json.dumps({**result, "status": "failed", "reason": reason, "values": {}}))


def by_key(run: Instant) -> dict[str, list[str]]:
    """Elements of the candidate that a relaxation is of."""
    from materia.campaign import load_settings
    from materia.simulation import level, make_job
    from materia.space import generate

    pool = generate(load_settings(run.file).space)
    return {make_job("relax", pool.crystal(i), level("rough")).key: pool.crystal(i).elements for i in range(len(pool))}


def start(folder: Path) -> Path:
    """The dataset that ships with three of its failures: two short of what a campaign can learn from."""
    whole = Dataset.load(resource("data/dataset"))
    failed = [entry for entry in whole if entry.status == "failed"][:3]
    Dataset((*whole.computed, *failed), {**whole.card, "name": "start"}).save(folder)
    return folder


def campaign(folder: Path, failures: str) -> Instant:
    search = {"rounds": ROUNDS, "batch": BATCH, "exploration": 0.5, "failures": failures}
    return instant(folder, data=str(start(folder / "start")), search=search)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Instant:
    run = campaign(tmp_path_factory.mktemp("failing"), "learn")
    fail(run, {"Sb", "Te"})
    run.finish()
    return run


def test_failures_make_their_like_less_likely_to_be_picked(failing: Instant) -> None:
    """All that has antimony or tellurium fails; by the last round candidates of either have the worse chances."""
    rounds = failing.record.rounds
    assert all("success" not in pick.score for pick in rounds[0].picks)  # nothing has failed yet
    assert all("success" in pick.score for pick in rounds[-1].picks)
    with open_driver(failing.file, failing.folder) as driver:
        chance = driver.successes.before(ROUNDS)
        pool = driver.campaign.pool
    assert chance is not None
    bad = np.array([bool({"Sb", "Te"} & set(pool.crystal(i).elements)) for i in range(len(pool))])
    assert chance[bad].max() < np.median(chance[~bad])


def test_the_dossier_says_what_the_chance_did(failing: Instant) -> None:
    record = failing.record
    pick = record.rounds[-1].picks[0]
    part = record.dossiers[pick.candidate_id]["score"]["parts"]["success"]
    assert part["log"] == pytest.approx(np.log(part["factor"]))
    assert score_part("success") == "chance that the calculation ends well"


def test_the_order_in_which_jobs_end_changes_nothing(failing: Instant) -> None:
    """What a round is told hangs on the rounds before it, however many of its own picks have ended."""
    with open_driver(failing.file, failing.folder) as driver:
        early = Successes(driver.campaign, driver.ledger).before(2)
        again = driver.successes.before(2)
        assert early is not None and again is not None
        assert np.array_equal(early, again)
        assert Successes(driver.campaign, driver.ledger).before(0) is None


def test_what_says_nothing_of_the_material_does_not_count(failing: Instant, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_driver(failing.file, failing.folder) as driver:
        rows = driver.campaign.database.picks()
        failed = [row for row in rows if row.pick.state is PickState.FAILED]
        assert len(failed) >= 5
        successes = Successes(driver.campaign, driver.ledger)
        assert all(successes._tells(row) for row in rows)
        outcome = driver.ledger.outcome
        cancelled = {row.job_key for row in failed}

        def told(key: str) -> object:
            found = outcome(key)
            return found if key not in cancelled else dataclasses.replace(found, kind=OutcomeKind.CANCELLED)

        monkeypatch.setattr(driver.ledger, "outcome", told)
        assert not any(successes._tells(row) for row in failed)
        assert successes.before(ROUNDS) is None  # the three failures of the dataset alone are too few


def test_failures_may_be_dropped(tmp_path: Path) -> None:
    run = campaign(tmp_path, "drop")
    fail(run, {"Sb", "Te"})
    record = run.finish()
    assert all("success" not in pick.score for round_ in record.rounds for pick in round_.picks)
    assert any(pick.state is PickState.FAILED for round_ in record.rounds for pick in round_.picks)
