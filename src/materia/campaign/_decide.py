"""``pin``, ``veto`` and ``approve``: a person's decision, put down where the driver finds it.

Why a folder of files and not the database: ``campaign.sqlite`` has one writer, the driver, which holds its lock for
days; and SQLite's own locks cannot be trusted on every network file system. A decision is therefore one new file in
``overrides/``, written aside, synced, and renamed to a name that nobody else can choose (time and a random part).
A rename is atomic on NFS too, so a reader sees the whole decision or none; files are never changed or removed,
so nobody can lose another's. The driver alone takes them into its tables, in one transaction with its own key on the
file's name, so that a kill at any line takes none in twice. A decision thus counts from the driver's next step on
(on NFS once the driver's host sees the new name, a minute at most with the usual attribute cache). A withdrawal names
what it takes back, so that clocks that disagree cannot turn the two around.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from materia.campaign._database import storage_errors
from materia.errors import CampaignError
from materia.record import (
    CampaignRecord,
    Decision,
    Override,
    OverrideKind,
    OverrideState,
    PickState,
    decision_file,
    load_campaign,
)
from materia.space import Pool

_IN_FORCE = (OverrideState.WAITING, OverrideState.STANDING)
_LONGEST = 2000  # characters of a reason


def pin(
    folder: str | Path, candidates: str | Sequence[str], *, why: str, who: str | None = None, undo: bool = False
) -> Decision:
    """Have candidates computed next, in the order given; each takes a place in a batch.

    They are scored and told to the study like every pick, and marked. Where the campaign's rounds are over, pinned
    candidates get a further round of their own.

    Args:
        folder: campaign folder; a driver may be running.
        candidates: ids of the pool.
        why: the reason, kept with the decision.
        who: default: the login name.
        undo: take the pins back, as long as the candidates are not picked.

    Returns:
        the decision as written. The driver takes it in at its next step; :func:`materia.load_campaign` then says
        in ``overrides`` what became of it.

    Raises:
        SpaceError: a candidate is not in the pool; the nearest ids are named.
        CampaignError: no campaign, a finished one, no reason, a candidate that is picked, vetoed or labelled already.
        StorageError: the decision cannot be written.
    """
    return _decide(OverrideKind.PIN, folder, candidates, why=why, who=who, undo=undo)


def veto(
    folder: str | Path, candidates: str | Sequence[str], *, why: str, who: str | None = None, undo: bool = False
) -> Decision:
    """Have candidates never computed.

    A pick whose calculations have not ended is cancelled and recorded as vetoed, which says nothing about the
    material; its place in the round goes to another candidate. Arguments and errors as :func:`pin`; a candidate whose
    calculations have ended cannot be vetoed. With ``undo`` it is free again, from the next round on where a pick of it
    was cancelled; what had been computed of it is not computed again.
    """
    return _decide(OverrideKind.VETO, folder, candidates, why=why, who=who, undo=undo)


def approve(
    folder: str | Path, candidates: str | Sequence[str], *, why: str, who: str | None = None, undo: bool = False
) -> Decision:
    """Have proposed picks computed, in a campaign with ``search: {approval: required}``.

    Arguments and errors as :func:`pin`; a candidate that is not proposed cannot be approved.
    """
    return _decide(OverrideKind.APPROVE, folder, candidates, why=why, who=who, undo=undo)


def _decide(
    kind: OverrideKind, folder: str | Path, candidates: str | Sequence[str], *, why: str, who: str | None, undo: bool
) -> Decision:
    folder = Path(folder)
    names = tuple(dict.fromkeys([candidates] if isinstance(candidates, str) else candidates))
    if not names:
        raise CampaignError(f"no candidate to {kind.value}", where=folder, remedy="give at least one id")
    record = load_campaign(folder)
    reason, person = one_line(why, "reason", "--why"), one_line(who or _login(), "name", "--who")
    if record.state == "finished":
        raise CampaignError(
            f"the campaign is finished: nothing is left to {kind.value}",
            where=folder,
            remedy="start a new campaign with this one among compute.stores; nothing is computed twice",
        )
    Pool.rows_in(folder / "pool", names)
    for name in names:
        _check_withdrawal(record, kind, name) if undo else _check(record, kind, name)
    withdraws = {o.decision for o in in_force(record, kind) if o.candidate_id in names} if undo else set()
    moment = datetime.now(UTC)
    decision = Decision(
        id=f"{moment.strftime('%Y%m%dT%H%M%S.%fZ')}-{uuid4().hex[:12]}",
        kind=kind,
        candidates=names,
        who=person,
        when=moment.isoformat(timespec="seconds"),
        why=reason,
        withdraws=tuple(sorted(withdraws)),
    )
    _publish(folder, decision)
    return decision


def in_force(record: CampaignRecord, kind: OverrideKind) -> list[Override]:
    """Overrides of a kind that wait or stand."""
    return [o for o in record.overrides if o.kind is kind and o.state in _IN_FORCE]


def _check(record: CampaignRecord, kind: OverrideKind, name: str) -> None:
    """Refuse what can be seen now to come to nothing; the driver looks again when it takes the decision in."""
    pick = record.last_pick(name)
    vetoed_pick = pick is not None and pick.state is PickState.VETOED
    place = "" if pick is None else f"{name} was picked in round {pick.round} and is {pick.state.value}"
    same = next((o for o in in_force(record, kind) if o.candidate_id == name), None)
    what, remedy = "", "see materia status"
    if kind is OverrideKind.APPROVE and record.settings.get("search", {}).get("approval") != "required":
        what = "this campaign submits its picks without approval"
        remedy = "write approval: required under search in the file of a new campaign, or use materia veto"
    elif same is not None:
        what, remedy = f"{name} has its {kind.noun} already, by {same.who} at {same.when}: {same.why}", "nothing to do"
    elif kind is OverrideKind.PIN:
        vetoed = next((o for o in in_force(record, OverrideKind.VETO) if o.candidate_id == name), None)
        if vetoed is not None:
            what = f"{name} is vetoed by {vetoed.who} at {vetoed.when}: {vetoed.why}"
            remedy = "withdraw that first: materia veto --undo"
        elif pick is not None and not vetoed_pick:
            what, remedy = place, "a candidate is picked once"
        elif any(r["candidate_id"] == name and r["status"] == "labelled" for r in record.ranking):
            what, remedy = f"{name} has its labels from the starting dataset", "see the report"
    elif kind is OverrideKind.VETO:
        if pick is not None and not pick.state.open and not vetoed_pick:
            what = place
    elif pick is None or pick.state is not PickState.PROPOSED:
        proposed = [p.candidate_id for r in record.rounds for p in r.picks if p.state is PickState.PROPOSED]
        what = place or f"{name} is not proposed"
        remedy = f"proposed now: {', '.join(proposed) or 'none'}; materia pin has a candidate proposed next"
    if what:
        raise CampaignError(what, where=record.folder, remedy=remedy)


def _check_withdrawal(record: CampaignRecord, kind: OverrideKind, name: str) -> None:
    if any(o.candidate_id == name for o in in_force(record, kind)):
        return
    last = [o for o in record.overrides if o.kind is kind and o.candidate_id == name]
    said = f"; its last one is {last[-1].state.value}" if last else ""
    raise CampaignError(
        f"{name} has no {kind.noun} to withdraw{said}", where=record.folder, remedy="see materia status"
    )


def _publish(folder: Path, decision: Decision) -> None:
    """The whole file or none, on disk when this returns."""
    path = decision_file(folder, decision.id)
    temporary = path.with_name(f".{path.stem}.tmp")
    with storage_errors(path):
        path.parent.mkdir(exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8") as stream:
                stream.write(json.dumps(decision.to_record(), indent=1, ensure_ascii=False) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        for directory in (path.parent, folder):
            descriptor = os.open(directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:  # a container without a user entry
        raise CampaignError(f"the login name is not known: {error}", remedy="say who decides: --who NAME") from error


def decided_by() -> dict[str, str]:
    """Who decides something now: ``who`` (the login name) and ``when``."""
    return {"who": one_line(_login(), "name", "--who"), "when": datetime.now(UTC).isoformat(timespec="seconds")}


def one_line(text: str, what: str, option: str) -> str:
    """
    Raises:
        CampaignError: nothing is written, too much, or what cannot be printed.
    """
    line = " ".join(text.split())
    if not line or len(line) > _LONGEST or not line.isprintable():
        raise CampaignError(
            f"a decision needs a {what} of 1 to {_LONGEST} printable characters, given: {text[:80]!r}",
            remedy=f"write it after {option}",
        )
    return line
