"""SIGKILL at random moments: the same picks and labels, and no calculation done twice."""

from __future__ import annotations

import random
import time
from datetime import datetime
from pathlib import Path

import pytest

from materia.record import CampaignRecord
from tiny_campaign import calculations, essence, tiny

pytestmark = pytest.mark.gpaw
START_S = 5.0  # about what a start takes before anything happens: imports, pool, models read back


def killed(folder: Path, kills: int, seed: int, undisturbed: CampaignRecord) -> tuple[CampaignRecord, int]:
    """Run the tiny campaign to its end through ``kills`` SIGKILLs of the driver; its record, and kills that hit.

    The moments are drawn so that the kills spread over the whole campaign, however fast the machine is.
    """
    campaign, rng, hits = tiny(folder), random.Random(seed), 0
    times = [datetime.fromisoformat(undisturbed.meta[key]) for key in ("started", "finished")]
    share_s = (times[1] - times[0]).total_seconds() / kills
    for _ in range(kills):
        process = campaign.start()
        time.sleep(rng.uniform(0.5, START_S + 1.5 * share_s))
        if process.poll() is None:
            hits += 1
        process.kill()
        process.communicate()
    return campaign.finish(), hits


def check(record: CampaignRecord, undisturbed: CampaignRecord) -> None:
    assert record.state == "finished"
    assert essence(record) == essence(undisturbed)
    done = calculations(record.folder)
    assert set(done) == {job.key for job in record.jobs}
    assert set(done.values()) == {1}, "a calculation was started twice"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_three_kills_change_nothing(undisturbed: CampaignRecord, tmp_path: Path) -> None:
    record, hits = killed(tmp_path, kills=3, seed=1, undisturbed=undisturbed)
    assert hits >= 2
    check(record, undisturbed)


@pytest.mark.exhaustive
@pytest.mark.timeout(7200)
def test_ten_kills_change_nothing(undisturbed: CampaignRecord, tmp_path: Path) -> None:
    record, hits = killed(tmp_path, kills=10, seed=2, undisturbed=undisturbed)
    assert hits >= 6
    check(record, undisturbed)


@pytest.mark.slow
def test_a_second_run_repeats_no_calculation(undisturbed: CampaignRecord) -> None:
    before = calculations(undisturbed.folder)
    again = tiny(undisturbed.folder.parent).finish()
    assert essence(again) == essence(undisturbed)
    assert calculations(again.folder) == before


@pytest.mark.slow
def test_the_record_is_complete(undisturbed: CampaignRecord) -> None:
    picks = [pick for found in undisturbed.rounds for pick in found.picks]
    assert [len(found.picks) for found in undisturbed.rounds] == [3, 3]
    assert len({pick.candidate_id for pick in picks}) == len(picks), "a candidate was picked twice"
    assert len(undisturbed.models) == 3, "one model a round, and one of everything at the end"
    for name in ("results.db", "ranking.json", "report/index.html", "mlflow.db", "optuna.journal"):
        assert (undisturbed.folder / name).is_file(), name
    computed = [pick for pick in picks if pick.labels]
    assert {label.quantity for label in computed[0].labels} >= {"gap_pbe", "energy_per_atom", "volume_per_atom"}
    assert {label.level for label in computed[0].labels} == {"rough"}
