"""What a round's jobs ask for: learned from the jobs of the rounds before it, and of earlier campaigns."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

from materia.campaign._folder import Campaign
from materia.compute import Ask, Backend, Estimates, Ledger, Sample, samples_in, samples_of
from materia.record import JobSpec


class Requests:
    """Adds jobs to the ledger with the resources they are to ask for.

    Rounds are barriers here as well: a round asks by what had ended when it was opened, so the order in which its own
    jobs end changes nothing. Keys, picks and labels know nothing of what was asked for.
    """

    def __init__(self, campaign: Campaign, ledger: Ledger, backend: Backend) -> None:
        self._campaign, self._ledger, self._backend = campaign, ledger, backend
        self._fitted: tuple[int, Estimates] | None = None
        node = backend.node().to_record()
        if campaign.database.meta().get("node") != node:
            with campaign.database.transaction():
                campaign.database.set_meta({"node": node})

    def open_round(self, number: int) -> None:
        """Write down how many jobs there are before a round begins. To be repeated until the round is open."""
        database = self._campaign.database
        before = {**database.meta().get("jobs_before", {}), str(number): len(self._ledger.jobs())}
        with database.transaction():
            database.set_meta({"jobs_before": before})

    def add(self, number: int, spec: JobSpec) -> None:
        """Write the intent to compute a job of a round (within the caller's transaction); one that was cancelled with a
        vetoed pick is wanted again."""
        ask = self._estimates(number).ask(spec, self._backend.limits())
        self._ledger.add(_with(spec, ask), ask.resources)
        self._ledger.reopen(spec.key)

    def _estimates(self, number: int) -> Estimates:
        if self._fitted is None or self._fitted[0] != number:
            before = int(self._campaign.database.meta().get("jobs_before", {}).get(str(number), 0))
            samples = [*self._earlier, *samples_of(self._ledger, self._place, before)]
            self._fitted = (number, Estimates(samples, self._campaign.settings.compute.estimates))
        return self._fitted[1]

    @property
    def _place(self) -> str:
        return self._backend.node().name

    @cached_property
    def _earlier(self) -> list[Sample]:
        stores = self._campaign.settings.compute.stores
        return [sample for store in stores for sample in samples_in(Path(store), self._place)]


def _with(spec: JobSpec, ask: Ask) -> JobSpec:
    """The job with what was predicted among its features, for the record."""
    return dataclasses.replace(spec, features={**spec.features, **ask.predicted})
