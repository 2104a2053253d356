"""What people decided: pins, vetoes and approvals, as they lie in a campaign folder.

A decision is one file in ``overrides/``, written by whoever decides, never changed and never removed; the driver
takes it into the database at its next step. What is not in the database yet is shown as ``waiting``.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from materia.errors import CampaignError

INBOX = "overrides"
_VERSION = 1


class OverrideKind(StrEnum):
    """What a person can say about a candidate."""

    PIN = "pin"  # compute it next
    VETO = "veto"  # never compute it
    APPROVE = "approve"  # the proposed pick may be computed

    @property
    def noun(self) -> str:
        return "approval" if self is OverrideKind.APPROVE else self.value


class OverrideState(StrEnum):
    """What became of it."""

    WAITING = "waiting"  # written, not seen by a driver yet
    STANDING = "standing"  # taken in: it counts from now on
    HONOURED = "honoured"  # the pinned candidate was picked, the approved pick submitted
    WITHDRAWN = "withdrawn"  # taken back before it had an effect
    VOID = "void"  # it could not be honoured; the note says why


@dataclass(frozen=True)
class Decision:
    """One file of the inbox: somebody decided something about some candidates.

    Attributes:
        id: name of the file without its ending; sorts by time.
        kind: what was decided.
        candidates: about which.
        who, when, why: by whom, at which UTC time (ISO), for what reason.
        withdraws: ids of the decisions that this one takes back for these candidates; empty for a decision proper.
    """

    id: str
    kind: OverrideKind
    candidates: tuple[str, ...]
    who: str
    when: str
    why: str
    withdraws: tuple[str, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """As written to its file."""
        fields = dataclasses.asdict(self)
        return {"version": _VERSION, **fields, "kind": self.kind.value}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Decision:
        """From the content of its file.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        if record["version"] != _VERSION:
            raise ValueError(f"version {record['version']!r} is not {_VERSION}")
        return cls(
            id=str(record["id"]),
            kind=OverrideKind(record["kind"]),
            candidates=tuple(map(str, record["candidates"])),
            who=str(record["who"]),
            when=str(record["when"]),
            why=str(record["why"]),
            withdraws=tuple(map(str, record["withdraws"])),
        )


@dataclass(frozen=True)
class Override:
    """A decision about one candidate, and what became of it.

    Attributes:
        decision: id of the decision.
        kind, candidate_id, who, when, why: see :class:`Decision`.
        state: what became of it.
        note: in words, where there is more to say.
        round: the round at which a driver took it in; None while it waits or before the first round.
        predictions: quantity -> {"mean", "std"} as the surrogate of that round had it, kept for judging the
            decision later; empty where nothing was predicted.
        probability: of being a hit by those predictions.
    """

    decision: str
    kind: OverrideKind
    candidate_id: str
    who: str
    when: str
    why: str
    state: OverrideState = OverrideState.WAITING
    note: str = ""
    round: int | None = None
    predictions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    probability: float | None = None


def decision_file(folder: Path, name: str) -> Path:
    """Where a decision lies in a campaign folder."""
    return folder / INBOX / f"{name}.json"


def waiting_decisions(folder: Path, taken: Iterable[str]) -> list[Decision]:
    """Decisions in a campaign folder's inbox that are not among the ``taken`` ids, in order of time.

    Raises:
        CampaignError: a file that is no decision; it is not passed over, since it may hold a veto.
    """
    known = set(taken)
    found = []
    for path in sorted((folder / INBOX).glob("*.json")):
        if path.name.startswith(".") or path.stem in known:
            continue
        try:
            decision = Decision.from_record(json.loads(path.read_text(encoding="utf-8")))
            if decision.id != path.stem:
                raise ValueError(f"it calls itself {decision.id!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise CampaignError(
                f"a person's decision cannot be read: {type(error).__name__}: {error}",
                where=path,
                remedy="move the file out of the folder and decide again with materia pin, veto or approve",
            ) from error
        found.append(decision)
    return found


def load_overrides(connection: sqlite3.Connection, folder: Path) -> tuple[Override, ...]:
    """Everything people decided in a campaign, taken in or waiting, in order; looks without touching.

    Raises:
        CampaignError: a decision cannot be read.
    """
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    rows: list[Override] = []
    taken: set[str] = set()
    if "overrides" in tables:  # folders of older versions have none
        rows = [override_from_row(row) for row in connection.execute(f"{SELECT_OVERRIDES} ORDER BY o.rowid")]
        taken = {row[0] for row in connection.execute("SELECT id FROM decisions")}
    waiting = waiting_decisions(folder, taken)
    for decision in waiting:
        if not decision.withdraws:
            rows += [opened(decision, name) for name in decision.candidates]
    for decision in waiting:
        gone = {(d, name) for d in decision.withdraws for name in decision.candidates}
        rows = [
            dataclasses.replace(row, state=OverrideState.WITHDRAWN, note=withdrawal_note(decision))
            if (row.decision, row.candidate_id) in gone and row.state in (OverrideState.WAITING, OverrideState.STANDING)
            else row
            for row in rows
        ]
    return tuple(rows)


SELECT_OVERRIDES = (
    "SELECT o.decision, d.content, o.candidate_id, o.state, o.note, o.round, o.predictions, o.probability "
    "FROM overrides o JOIN decisions d ON d.id = o.decision"
)


def override_from_row(row: tuple[Any, ...]) -> Override:
    """An override from the columns of :data:`SELECT_OVERRIDES`."""
    decision = Decision.from_record(json.loads(row[1]))
    return dataclasses.replace(
        opened(decision, row[2]),
        state=OverrideState(row[3]),
        note=row[4],
        round=row[5],
        predictions=json.loads(row[6]),
        probability=row[7],
    )


def opened(decision: Decision, candidate_id: str) -> Override:
    """A decision about one of its candidates, before a driver has seen it."""
    return Override(decision.id, decision.kind, candidate_id, decision.who, decision.when, decision.why)


def withdrawal_note(decision: Decision) -> str:
    return f"withdrawn by {decision.who}: {decision.why}"
