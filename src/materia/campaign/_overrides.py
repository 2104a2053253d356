"""The driver's side of what people decide: taken in once, kept with its effect. The tables' only writer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from materia.campaign._database import CampaignDatabase
from materia.record import (
    SELECT_OVERRIDES,
    Decision,
    Override,
    OverrideKind,
    OverrideState,
    opened,
    override_from_row,
    waiting_decisions,
    withdrawal_note,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (id TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS overrides (
    decision TEXT NOT NULL REFERENCES decisions(id), candidate_id TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', round INTEGER, predictions TEXT NOT NULL DEFAULT '{}',
    probability REAL, PRIMARY KEY (decision, candidate_id));
"""

Objection = Callable[[Override], str]
"""Why an override cannot be honoured, or an empty text."""


class Overrides:
    """What people decided in one campaign, as the driver has taken it in."""

    def __init__(self, database: CampaignDatabase, folder: Path) -> None:
        self._database, self._folder = database, folder
        database.connection.executescript(SCHEMA)
        self._taken = {row[0] for row in database.connection.execute("SELECT id FROM decisions")}

    def take_in(self, round_number: int | None, objection: Objection) -> bool:
        """Read the inbox and write what is new into the tables, all of it in one transaction.

        Withdrawals come after what they may withdraw, and wait until that is there.

        Args:
            round_number: the round that is open, or the last one.
            objection: says why a decision cannot be honoured any more.

        Returns:
            whether there was anything.

        Raises:
            CampaignError: a file in the inbox is no decision.
        """
        waiting = waiting_decisions(self._folder, self._taken)
        known = self._taken | {d.id for d in waiting}
        ready = [d for d in waiting if known.issuperset(d.withdraws)]
        if not ready:
            return False
        with self._database.transaction():
            for decision in sorted(ready, key=lambda d: (bool(d.withdraws), d.id)):
                content = json.dumps(decision.to_record())
                self._execute("INSERT INTO decisions VALUES (?, ?)", decision.id, content)
                if decision.withdraws:
                    self._withdraw(decision)
                    continue
                for name in decision.candidates:
                    why_not = objection(opened(decision, name))
                    state = OverrideState.VOID if why_not else OverrideState.STANDING
                    self._execute(
                        "INSERT INTO overrides (decision, candidate_id, kind, state, note, round) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        *(decision.id, name, decision.kind.value, state.value, why_not, round_number),
                    )
        self._taken.update(d.id for d in ready)
        return True

    def standing(self, kind: OverrideKind) -> dict[str, Override]:
        """Candidate id -> the first override of this kind that stands, in the order they were taken in."""
        found: dict[str, Override] = {}
        for override in self._rows("o.state = ? AND o.kind = ?", OverrideState.STANDING.value, kind.value):
            found.setdefault(override.candidate_id, override)
        return found

    def honoured(self, kind: OverrideKind) -> set[str]:
        """Candidates for which an override of this kind has had its effect."""
        return {
            o.candidate_id for o in self._rows("o.state = ? AND o.kind = ?", OverrideState.HONOURED.value, kind.value)
        }

    def settle(self, kind: OverrideKind, candidate_id: str, state: OverrideState, note: str) -> None:
        """All that stands of this kind on a candidate has come to an end (part of the caller's transaction)."""
        self._execute(
            "UPDATE overrides SET state = ?, note = ? WHERE kind = ? AND candidate_id = ? AND state = ?",
            *(state.value, note, kind.value, candidate_id, OverrideState.STANDING.value),
        )

    def unjudged(self) -> list[Override]:
        """Pins and vetoes in force that have no predictions beside them yet."""
        return self._rows(
            "o.state IN (?, ?) AND o.kind IN (?, ?) AND o.predictions = '{}'",
            *(OverrideState.STANDING.value, OverrideState.HONOURED.value),
            *(OverrideKind.PIN.value, OverrideKind.VETO.value),
        )

    def judge(
        self, override: Override, predictions: Mapping[str, Mapping[str, float]], probability: float | None
    ) -> None:
        """Keep what was believed about the candidate, so that the decision can be judged later."""
        with self._database.transaction():
            self._execute(
                "UPDATE overrides SET predictions = ?, probability = ? WHERE decision = ? AND candidate_id = ?",
                *(json.dumps(predictions), probability, override.decision, override.candidate_id),
            )

    def _withdraw(self, decision: Decision) -> None:
        for name in decision.candidates:
            for earlier in decision.withdraws:
                self._execute(
                    "UPDATE overrides SET state = ?, note = ? WHERE decision = ? AND candidate_id = ? AND state = ?",
                    *(OverrideState.WITHDRAWN.value, withdrawal_note(decision), earlier, name),
                    OverrideState.STANDING.value,
                )

    def _rows(self, where: str, *parameters: Any) -> list[Override]:
        rows = self._database.connection.execute(f"{SELECT_OVERRIDES} WHERE {where} ORDER BY o.rowid", parameters)
        return [override_from_row(row) for row in rows.fetchall()]

    def _execute(self, statement: str, *parameters: Any) -> None:
        self._database.connection.execute(statement, parameters)
