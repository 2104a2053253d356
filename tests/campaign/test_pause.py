"""How long a driver waits between two looks at its jobs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from materia.campaign import _loop
from materia.campaign._loop import Phase, Step


@pytest.mark.parametrize(
    ("interval", "took", "waited", "pause"),
    [
        (0.1, 0.001, 0.0, 0.1),
        (0.1, 0.001, 5.0, 0.1),
        (0.1, 0.001, 30.0, 0.6),
        (0.1, 0.03, 5.0, 0.6),
        (0.1, 1.0, 0.0, 2.0),
        (0.1, 0.001, 86400.0, 2.0),
        (15.0, 1.0, 86400.0, 15.0),
    ],
)
def test_pauses_grow_with_what_is_waited_for_and_never_undercut_the_backend(
    interval: float, took: float, waited: float, pause: float
) -> None:
    assert _loop._pause(interval, took, waited) == pytest.approx(pause)


def test_a_driver_looks_often_at_first_and_rarely_at_a_job_of_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only pauses move: two hours until something ends, five seconds more until all is done."""
    clock, looks = 0.0, []

    class Driver:
        told = False
        manager = SimpleNamespace(backend=SimpleNamespace(poll_interval_s=0.1))

        def step(self) -> Step:
            looks.append(clock)
            if clock >= 7205:
                return Step(Phase.FINISHED, "finished")
            ended = clock >= 7200 and not self.told
            self.told = self.told or ended
            return Step(Phase.COMPUTING, "computing", waiting=not ended)

    class Opened:
        def __enter__(self) -> Driver:
            return Driver()

        def __exit__(self, *_: object) -> None:
            pass

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds

    fake = SimpleNamespace(monotonic=lambda: clock, sleep=sleep)
    monkeypatch.setattr(_loop, "time", fake)
    monkeypatch.setattr(_loop, "open_driver", lambda *_, **__: Opened())
    monkeypatch.setattr(_loop, "load_campaign", lambda folder: folder)
    _loop.run(None, "anywhere")
    assert looks[1] - looks[0] == pytest.approx(0.1)
    assert len(looks) < 4000, "at a tenth of a second it were 72,000"
    after = [t for t in looks if t >= 7200]
    assert after[2] - after[1] == pytest.approx(0.1), "quick again once something has happened"
